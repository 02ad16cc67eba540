"""Pages of records: order, filters, bounds, and the indexes that they use."""

import random
import sqlite3
from collections.abc import Callable
from itertools import count

import pytest
from msgspec.structs import replace

from jobworkerd.job_id import JobIds
from jobworkerd.model import Job, JobStatus
from jobworkerd.protocol.job_filter import matches
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records import paging
from jobworkerd.records.pages import Page
from jobworkerd.records.paging import PageQuery
from jobworkerd.records.store import Records
from jobworkerd.records.writes import Save
from sample_jobs import SPEC
from tests.unit.records.conftest import SECOND, MakeJob

RUNNING = frozenset({JobStatus.RUNNING})
FINAL = frozenset(status for status in JobStatus if status.final)


def save(records: Records, *jobs: Job) -> None:
    for job in jobs:
        records._queue.add(Save(job), keep=False)
    records._queue.flush()


def all_pages(records: Records, request: ListJobs) -> list[Job]:
    """Follow the pages of a request to the last one."""
    found: list[Job] = []
    while True:
        page = records.page(request)
        assert len(page.jobs) <= request.page_size
        found += page.jobs
        if not page.next_before:
            return found
        assert not request.before or page.next_before < request.before
        request = replace(request, before=page.next_before)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
async def test_pages_are_complete_and_newest_first(records: Records, make_job: MakeJob, size: int) -> None:
    jobs = [make_job() for _ in range(5)]
    save(records, *jobs)
    assert all_pages(records, ListJobs(page_size=size)) == jobs[::-1]
    assert records.page(ListJobs(page_size=5)).next_before == ""
    assert records.page(ListJobs(page_size=2)).next_before == jobs[3].id


async def test_more_labels_than_a_job_can_have_match_no_job(records: Records, make_job: MakeJob) -> None:
    save(records, make_job())
    labels = {f"label-{number}": "a" for number in range(2_000)}
    assert records.page(ListJobs(page_size=5, labels=labels)) == Page((), "")


async def test_the_next_page_does_not_need_the_job_of_its_token(records: Records, make_job: MakeJob) -> None:
    jobs = [make_job() for _ in range(4)]
    save(records, *jobs)
    token = records.page(ListJobs(page_size=2)).next_before
    await records.delete(token)
    assert records.page(ListJobs(page_size=2, before=token)).jobs == (jobs[1], jobs[0])


async def test_a_page_ends_before_it_exceeds_its_maximum_size(records: Records, make_job: MakeJob) -> None:
    jobs = [make_job(args=("x" * 100_000,) * 20) for _ in range(2)] + [make_job()]
    save(records, *jobs)
    page = records.page(ListJobs(page_size=9, max_bytes=3 << 20))
    assert page.jobs == (jobs[2], jobs[1])
    assert records.page(ListJobs(page_size=9, max_bytes=3, before=page.next_before)).jobs == (jobs[0],)


def random_jobs(make_job: MakeJob, chance: random.Random) -> list[Job]:
    return [
        make_job(
            chance.choice(list(JobStatus)),
            owner=chance.choice(["CN=alice", "CN=bob"]),
            labels=dict(chance.sample([("k", "v"), ("k2", "v"), ("k3", "w")], chance.randrange(4))),
            command=chance.choice(["make", "sleep", "cmake"]),
            args=("all", "%", "_") if chance.randrange(2) else (),
        )
        for _ in range(200)
    ]


def random_request(jobs: list[Job], chance: random.Random) -> ListJobs:
    def some(value: object, other: object) -> object:
        return value if chance.randrange(3) == 0 else other

    middle = chance.choice(jobs)
    statuses = frozenset(chance.sample(list(JobStatus), chance.randrange(1, 4)))
    return ListJobs(
        page_size=chance.choice([1, 3, 50, 500]),
        statuses=some(statuses, frozenset()),  # type: ignore[arg-type]
        owner=some("CN=bob", ""),  # type: ignore[arg-type]
        labels=some(dict(chance.sample([("k", "v"), ("k2", "v"), ("k", "w")], chance.randrange(3))), {}),  # type: ignore[arg-type]
        id_prefix=some(middle.id[: chance.choice([1, 8, 9, 13, 14, 18, 20, 36])], ""),  # type: ignore[arg-type]
        created_after_ns=some(chance.choice(jobs).create_time_ns, None),  # type: ignore[arg-type]
        created_before_ns=some(chance.choice(jobs).create_time_ns, None),  # type: ignore[arg-type]
        command_contains=some(chance.choice(["make", "e all", "%", "zzz"]), ""),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("scanned", [1, 7, 5_000])
async def test_filters_find_the_same_jobs_as_a_scan(
    records: Records, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(paging, "SCANNED_ROWS", scanned)
    chance = random.Random(scanned)
    jobs = random_jobs(make_job, chance)
    save(records, *jobs)
    for _ in range(300):
        request = random_request(jobs, chance)
        assert all_pages(records, request) == [job for job in jobs[::-1] if matches(request, job)], request


@pytest.mark.parametrize("prefix", ["-", "zz", "0-", "f" * 9, "0" * 36, "018bcfe5-6800-8", "018bcfe568"])
async def test_a_prefix_of_no_job_finds_none(records: Records, make_job: MakeJob, prefix: str) -> None:
    save(records, make_job())
    assert records.page(ListJobs(page_size=9, id_prefix=prefix)).jobs == ()


async def test_a_rare_match_does_not_make_a_page_slow(
    records: Records, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "SCANNED_ROWS", 10)
    rare = make_job(command="rare")
    jobs = [make_job() for _ in range(25)]
    save(records, rare, *jobs)
    request = ListJobs(page_size=5, command_contains="rare")
    first = records.page(request)
    assert first == Page((), jobs[15].id)
    second = records.page(replace(request, before=first.next_before))
    assert second == Page((), jobs[5].id)
    assert records.page(replace(request, before=second.next_before)) == Page((rare,), "")


@pytest.mark.parametrize(
    "request_",
    [
        ListJobs(page_size=5, command_contains="rare"),
        ListJobs(page_size=5, owner=SPEC.owner, statuses=RUNNING | {JobStatus.STOPPED}),
        ListJobs(page_size=5, labels={"k": "v"}, owner="CN=nobody"),
        ListJobs(page_size=5, statuses=FINAL, created_after_ns=1, owner="CN=nobody"),
    ],
)
async def test_the_work_for_a_page_does_not_grow_with_the_history(
    records: Records, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, request_: ListJobs
) -> None:
    monkeypatch.setattr(paging, "SCANNED_ROWS", 10)
    steps = []
    for _ in range(2):
        save(records, *(make_job(labels={"k": "v"}) for _ in range(200)))
        steps.append(_steps(records, request_))
    assert steps[1] < steps[0] * 1.1


def _steps(records: Records, request: ListJobs) -> int:
    """Return the instructions of SQLite's virtual machine for a page."""
    instructions = count()

    def on_instruction() -> bool:
        return next(instructions) < 0

    records._connection.set_progress_handler(on_instruction, 1)
    records.page(request)
    records._connection.set_progress_handler(None, 1)
    return next(instructions)


async def test_times_are_exact_after_the_clock_was_set_back(records: Records, make_job: MakeJob) -> None:
    now = 1_800_000_000 * SECOND
    ids = JobIds()
    times = [now, now + SECOND, now - 3_600 * SECOND, now - 3_599 * SECOND, now + 2 * SECOND]
    jobs = [replace(make_job(), id=ids.new(time), create_time_ns=time) for time in times]
    save(records, *jobs)
    assert all_pages(records, ListJobs(page_size=2)) == jobs[::-1]
    for after in (None, *times):
        for before in (None, *times):
            request = ListJobs(page_size=2, created_after_ns=after, created_before_ns=before)
            expected = [job for job in jobs[::-1] if matches(request, job)]
            assert all_pages(records, request) == expected


async def test_changes_that_the_disk_refuses_are_listed(
    records: Records, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(JobStatus.RUNNING) for _ in range(6)]
    save(records, *jobs)
    records._connection.execute("PRAGMA query_only = ON")
    ended = [replace(job, status=JobStatus.COMPLETED, end_time_ns=5) for job in jobs[1:4:2]]
    for job in ended:
        await records.update(job)
    records.delete_later(jobs[5].id)
    expected = [jobs[4], ended[1], jobs[2], ended[0], jobs[0]]
    for size in (1, 2, 9):
        assert all_pages(records, ListJobs(page_size=size)) == expected
        assert all_pages(records, ListJobs(page_size=size, statuses=RUNNING)) == expected[::2]
        assert all_pages(records, ListJobs(page_size=size, statuses=FINAL)) == ended[::-1]
    monkeypatch.setattr(paging, "SCANNED_ROWS", 2)
    contains = ListJobs(page_size=2, command_contains="tru")
    assert all_pages(records, contains) == expected
    records._connection.execute("PRAGMA query_only = OFF")


KEY = "0199f3a0-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("request_", "indexes"),
    [
        (ListJobs(page_size=9), {"job USING INTEGER PRIMARY KEY"}),
        (ListJobs(page_size=9, before=KEY, id_prefix="0199"), {"job USING INDEX job_command"}),
        (ListJobs(page_size=9, statuses=RUNNING), {"job USING INDEX job_status"}),
        (ListJobs(page_size=9, statuses=FINAL), {"job USING INDEX job_status"}),
        (ListJobs(page_size=9, owner="CN=bob"), {"job USING INDEX job_owner"}),
        (ListJobs(page_size=9, owner="CN=bob", statuses=FINAL), {"job USING INDEX job_owner"}),
        (ListJobs(page_size=9, owner="CN=bob", statuses=RUNNING), {"job USING INDEX job_status"}),
        (
            ListJobs(page_size=9, labels={"k": "v"}),
            {"label USING PRIMARY KEY", "job USING INTEGER PRIMARY KEY"},
        ),
        (
            ListJobs(page_size=9, labels={"k": "v", "l": "w"}, owner="CN=bob"),
            {"label USING PRIMARY KEY", "job USING INTEGER PRIMARY KEY", "other USING PRIMARY KEY"},
        ),
        (ListJobs(page_size=9, created_after_ns=1), {"job USING INDEX job_command"}),
        (ListJobs(page_size=9, created_before_ns=1), {"job USING INDEX job_command"}),
        (ListJobs(page_size=9, command_contains="x"), {"job USING INDEX job_command"}),
        (ListJobs(page_size=9, owner="CN=bob", command_contains="x"), {"job USING INDEX job_owner"}),
    ],
)
async def test_each_filter_follows_an_index_without_a_sort(
    records: Records, request_: ListJobs, indexes: set[str]
) -> None:
    query = PageQuery(request_, records._connection)
    plan = _plan(records._connection, query.rows(1, 10))
    assert {line.split("SEARCH ")[1].split(" (")[0] for line in plan if "SEARCH" in line} == indexes
    stop = query.stop()
    for line in plan + (_plan(records._connection, stop) if stop else []):
        assert "SCAN" not in line
        assert "TEMP B-TREE" not in line


def _plan(connection: sqlite3.Connection, query: tuple[str, list[object]]) -> list[str]:
    sql, arguments = query
    return [line for *_, line in connection.execute(f"EXPLAIN QUERY PLAN {sql}", arguments)]


@pytest.mark.parametrize(
    "method", ["unfinished", "final_jobs", "newest_key", "oldest_final", "oldest", "request", "env"]
)
async def test_no_other_query_scans_the_table(records: Records, make_job: MakeJob, method: str) -> None:
    """Nothing at a start, and nothing per job, takes longer with more history."""
    calls: dict[str, Callable[[], object]] = {
        "unfinished": records.unfinished,
        "final_jobs": records.final_jobs,
        "newest_key": records.newest_key,
        "oldest_final": lambda: records.oldest_final(9),
        "oldest": records.ended_logs.oldest,
        "request": lambda: records.first_request(make_job(request_id="r").spec),
        "env": lambda: records.sealed_env(KEY),
    }
    statements: list[str] = []
    records._connection.set_trace_callback(statements.append)
    calls[method]()
    records._connection.set_trace_callback(None)
    assert statements
    for sql in statements:
        for line in _plan(records._connection, (sql, [])):
            assert "TEMP B-TREE FOR ORDER" not in line or method == "unfinished"
            assert "SCAN job" not in line or "INDEX job_" in line, line
