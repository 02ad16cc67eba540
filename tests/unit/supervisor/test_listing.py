"""Pages of jobs: order, filters and bounds."""

import pytest
from msgspec.structs import replace

from jobworkerd.model import Job, JobStatus
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.supervisor.listing import Listing
from sample_jobs import SPEC


class Table:
    """Jobs by id, and their listing."""

    def __init__(self, *ids: str) -> None:
        self.jobs = {
            each: Job(id=each, spec=SPEC, status=JobStatus.COMPLETED, create_time_ns=1) for each in ids
        }
        self.with_usage: list[str] = []
        self.listing = Listing(self.get)
        for each in ids:
            self.listing.add(each)

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        if live_usage:
            self.with_usage.append(job_id)
        return self.jobs[job_id]

    def page(self, request: ListJobs) -> tuple[str, bool]:
        found = self.listing.page(request)
        return " ".join(job.id for job in found.jobs), bool(found.next_before)


@pytest.mark.parametrize(
    ("request_", "ids", "more"),
    [
        (ListJobs(page_size=9), "b2 b1 a3 a2 a1", False),
        (ListJobs(page_size=5), "b2 b1 a3 a2 a1", False),
        (ListJobs(page_size=2), "b2 b1", True),
        (ListJobs(page_size=2, before="b1"), "a3 a2", True),
        (ListJobs(page_size=2, before="a2"), "a1", False),
        (ListJobs(page_size=2, before="a1"), "", False),
        (ListJobs(page_size=9, before="a9"), "a3 a2 a1", False),
        (ListJobs(page_size=9, id_prefix="a"), "a3 a2 a1", False),
        (ListJobs(page_size=9, id_prefix="b2"), "b2", False),
        (ListJobs(page_size=9, id_prefix="c"), "", False),
        (ListJobs(page_size=1, id_prefix="a", before="a3"), "a2", True),
    ],
)
def test_pages(request_: ListJobs, ids: str, more: bool) -> None:  # noqa: FBT001 - a column of the table
    assert Table("a2", "a1", "b1", "a3", "b2").page(request_) == (ids, more)


def test_filters() -> None:
    table = Table("a", "b", "c", "d")
    table.jobs["b"] = replace(table.jobs["b"], status=JobStatus.RUNNING)
    for each in ("b", "c"):
        table.jobs[each] = replace(table.jobs[each], spec=replace(SPEC, labels={"k": "v", "l": "w"}))
    assert table.page(ListJobs(page_size=9, statuses=frozenset({JobStatus.RUNNING}))) == ("b", False)
    assert table.page(ListJobs(page_size=9, labels={"k": "v"})) == ("c b", False)
    assert table.page(ListJobs(page_size=1, labels={"k": "v"})) == ("c", True)
    assert table.page(ListJobs(page_size=9, labels={"k": "w"})) == ("", False)


def test_a_removed_job_is_not_listed() -> None:
    table = Table("a", "b", "c")
    table.listing.remove("b")
    assert table.page(ListJobs(page_size=9)) == ("c a", False)


def test_only_the_jobs_of_the_page_read_their_usage() -> None:
    table = Table("a", "b", "c")
    table.page(ListJobs(page_size=2, live_usage=True))
    assert table.with_usage == ["c", "b"]


def test_a_page_ends_before_it_exceeds_its_maximum_size() -> None:
    table = Table("a", "b", "c")
    for each in ("a", "b"):
        table.jobs[each] = replace(table.jobs[each], spec=replace(SPEC, args=("x" * 100_000,) * 20))
    assert table.page(ListJobs(page_size=9, max_bytes=3 << 20)) == ("c b", True)
    assert table.page(ListJobs(page_size=9, before="b", max_bytes=3 << 20)) == ("a", False)
