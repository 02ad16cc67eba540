"""Tests of the archive of a gateway, for each database."""

import time
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from cluster_jobs import ALICE, BEGIN_NS, BOB, final, job_id
from jobworker.v1 import job_pb2
from jobworker_gateway.archive import paging
from jobworker_gateway.archive.sql_archive import SqlArchive
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.job_filter import matches
from jobworkerd.model import JobStatus
from jobworkerd.protocol.messages import ListJobs

IDS = [job_id(number) for number in range(12)]


def stored_jobs() -> list[job_pb2.Job]:
    """Return jobs with different owners, statuses, labels and commands, oldest first."""
    statuses = ("COMPLETED", "FAILED", "STOPPED", "LOST")
    return [
        final(
            each,
            statuses[number % 4],
            owner=BOB if number % 3 else ALICE,
            command="sleep" if number % 2 else "echo",
            args=[str(number), "100%_ü"],
            labels={"team": "a" if number % 5 else "b\0c", "number": str(number % 2)},
        )
        for number, each in enumerate(IDS)
    ]


REQUESTS = [
    ListJobs(page_size=5),
    ListJobs(page_size=1_000, before=IDS[6]),
    ListJobs(page_size=3, owner=BOB),
    ListJobs(page_size=3, statuses=frozenset({JobStatus.LOST})),
    ListJobs(page_size=3, statuses=frozenset({JobStatus.LOST, JobStatus.FAILED}), owner=ALICE),
    ListJobs(page_size=3, statuses=frozenset({JobStatus.RUNNING})),
    ListJobs(page_size=3, labels={"team": "a"}),
    ListJobs(page_size=3, labels={"team": "b\0c"}),
    ListJobs(page_size=3, labels={"team": "a", "number": "1"}, owner=BOB, command_contains="sleep"),
    ListJobs(page_size=3, labels={"team": "none"}),
    ListJobs(page_size=3, id_prefix=IDS[4][:12]),
    ListJobs(page_size=3, id_prefix=IDS[4]),
    ListJobs(page_size=3, created_after_ns=BEGIN_NS + 3 * 10**10),
    ListJobs(page_size=3, created_before_ns=BEGIN_NS + 3 * 10**10 + 1_000_000),
    ListJobs(page_size=3, created_after_ns=BEGIN_NS + 2 * 10**10, created_before_ns=BEGIN_NS + 6 * 10**10),
    ListJobs(page_size=3, created_after_ns=0, created_before_ns=2**63 - 1),
    ListJobs(page_size=3, command_contains="echo 1"),
    ListJobs(page_size=3, command_contains="100%_ü"),
    ListJobs(page_size=3, command_contains="%"),
    ListJobs(page_size=3, command_contains="a\0b"),
    # A client can send filters that no job can match.
    ListJobs(page_size=3, labels={"te\0am": "a"}),
    ListJobs(page_size=3, labels={f"label-{number}": "a" for number in range(2_000)}),
    ListJobs(page_size=3, max_bytes=1),
]


async def pages(archive: SqlArchive, request: ListJobs) -> AsyncIterator[list[job_pb2.Job]]:
    """Yield the pages of a list."""
    while True:
        page = await archive.page(request)
        yield list(page.jobs)
        if not page.next_before:
            return
        request = replace(request, before=page.next_before)


class ArchiveSuite:
    """The tests. A subclass has the fixture `archive`, an empty archive."""

    @pytest.fixture
    async def filled(self, archive: SqlArchive) -> SqlArchive:
        """An archive with jobs."""
        for each in stored_jobs():
            await archive.add(ArchivedJob(each))
        return archive

    async def test_a_job_is_found_as_it_was_added(self, archive: SqlArchive) -> None:
        job = final(
            IDS[0], args=["x" * 5_000, "ü"], labels={"": "", "k" * 63: "v\0" * 128}, owner="CN=" + "ü" * 4_000
        )
        assert await archive.add(ArchivedJob(job)) == job
        assert await archive.find(IDS[0]) == job
        assert await archive.find(IDS[1]) is None

    async def test_the_first_record_of_a_job_is_its_only_one(self, archive: SqlArchive) -> None:
        first, second = final(IDS[0], labels={"a": "1"}), final(IDS[0], "LOST", labels={"b": "2"})
        await archive.add(ArchivedJob(first))
        assert await archive.add(ArchivedJob(second)) == first
        assert await archive.find(IDS[0]) == first
        for labels, found in (({"a": "1"}, (first,)), ({"b": "2"}, ())):
            assert (await archive.page(ListJobs(page_size=3, labels=labels))).jobs == found

    async def test_a_job_is_found_by_its_request(self, archive: SqlArchive) -> None:
        job = ArchivedJob(final(IDS[0]), "key", "hash")
        await archive.add(job)
        await archive.add(ArchivedJob(final(IDS[1])))
        assert await archive.find_request("key") == job
        assert await archive.find_request("other") is None
        assert await archive.find_request("") is None

    async def test_a_deleted_job_leaves_nothing(self, archive: SqlArchive) -> None:
        assert not await archive.is_deleted(IDS[0])
        await archive.add(ArchivedJob(final(IDS[0], labels={"a": "1"}), "key", "hash"))
        assert not await archive.is_deleted(IDS[0])
        assert await archive.delete(IDS[0])
        assert not await archive.delete(IDS[0])
        assert await archive.find(IDS[0]) is None
        assert await archive.is_deleted(IDS[0])
        assert await archive.find_all([IDS[0]]) == ()
        assert await archive.find_request("key") is None
        assert (await archive.page(ListJobs(page_size=3))).jobs == ()
        assert (await archive.page(ListJobs(page_size=3, labels={"a": "1"}))).jobs == ()

    async def test_a_gateway_that_is_late_does_not_bring_a_deleted_job_back(
        self, archive: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = final(IDS[0], labels={"a": "1"})
        await archive.add(ArchivedJob(job))
        await archive.delete(IDS[0])
        assert await archive.add(ArchivedJob(job)) == job
        assert await archive.find(IDS[0]) is None
        assert (await archive.page(ListJobs(page_size=3, labels={"a": "1"}))).jobs == ()
        # The row is removed with a later deletion.
        later = time.time_ns() + 3_601 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: later)
        await archive.add(ArchivedJob(final(IDS[1])))
        await archive.delete(IDS[1])
        assert await archive.add(ArchivedJob(job)) == job
        assert await archive.find(IDS[0]) == job

    async def test_jobs_are_found_by_their_ids(self, filled: SqlArchive) -> None:
        found = await filled.find_all((IDS[2], job_id(100), IDS[7]))
        assert [job.id for job in found] == [IDS[7], IDS[2]]
        assert await filled.find_all(()) == ()

    @pytest.mark.parametrize("request_", REQUESTS, ids=map(str, range(len(REQUESTS))))
    @pytest.mark.parametrize("rows", [1, 4, 5_000])
    async def test_pages_have_the_jobs_that_match(
        self, filled: SqlArchive, request_: ListJobs, rows: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paging, "SCANNED_ROWS", rows)
        found = [page async for page in pages(filled, request_)]
        expected = [job for job in reversed(stored_jobs()) if matches(request_, job)]
        assert [job for page in found for job in page] == expected
        assert max(map(len, found)) <= request_.page_size

    async def test_a_page_ends_before_its_bytes_exceed_the_bound(self, filled: SqlArchive) -> None:
        sizes = [job.ByteSize() for job in reversed(stored_jobs())]
        page = await filled.page(ListJobs(page_size=5, max_bytes=sum(sizes[:3])))
        assert [job.id for job in page.jobs] == IDS[:-4:-1]

    async def test_a_page_examines_a_bounded_number_of_rows(
        self, filled: SqlArchive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(paging, "SCANNED_ROWS", 4)
        page = await filled.page(ListJobs(page_size=5, command_contains="echo 0"))
        assert (page.jobs, page.next_before) == ((), IDS[-4])
