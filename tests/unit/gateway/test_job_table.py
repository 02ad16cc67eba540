import asyncio
from itertools import islice

from jobworker.v1 import job_pb2
from jobworker_gateway.job_table import JobTable, LiveJob

QUEUED, RUNNING = job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_RUNNING
COMPLETED = job_pb2.JOB_STATUS_COMPLETED


def live(job_id: str, status: job_pb2.JobStatus.ValueType = QUEUED, rank: int = 0) -> LiveJob:
    return LiveJob(job_pb2.Job(id=job_id, status=status, owner="CN=ada"), rank=rank)


def ids(table: JobTable, before: str = "") -> list[str]:
    return [each.job.id for each in table.newest(before)]


def table_of(*jobs: LiveJob) -> JobTable:
    table = JobTable()
    for each in jobs:
        table.put(each)
    return table


def test_the_newest_job_comes_first() -> None:
    table = table_of(live("b"), live("d"), live("a"))
    assert ids(table) == ["d", "b", "a"]
    assert ids(table, before="d") == ["b", "a"]
    assert ids(table, before="c") == ["b", "a"]
    assert ids(table, before="a") == []


def test_the_table_can_change_during_an_iteration() -> None:
    table = table_of(live("a"), live("b"), live("c"))
    jobs = table.newest()
    assert next(jobs).job.id == "c"
    table.remove("b")
    table.put(live("d"))
    assert [each.job.id for each in jobs] == ["a"]


def test_a_change_replaces_a_job_and_its_counts() -> None:
    table = table_of(live("a"), live("b"))
    table.put(live("a", RUNNING))
    assert (table.count("CN=ada", QUEUED), table.count("CN=ada", RUNNING)) == (1, 1)
    table.remove("a")
    table.remove("a")
    assert (table.count("CN=ada", RUNNING), len(table)) == (0, 1)


def test_the_queue_is_ordered_by_rank_and_age() -> None:
    table = table_of(live("a"), live("b", rank=50), live("c"), live("d", RUNNING), live("e", rank=50))
    assert [table.queue_position(job_id) for job_id in "beacdx"] == [1, 2, 3, 4, 0, 0]
    table.put(live("b", RUNNING, rank=50))
    assert table.queue_position("e") == 1


async def test_a_waiter_gets_the_next_state_and_the_removal() -> None:
    table = table_of(live("a"))
    first = table.get("a")
    assert first
    waiting = asyncio.create_task(table.changed("a", first.revision))
    await asyncio.sleep(0)
    table.put(live("b"))
    table.put(live("a", RUNNING))
    second = await waiting
    assert second
    assert second.job.status == RUNNING
    assert await table.changed("a", first.revision) == second
    waiting = asyncio.create_task(table.changed("a", second.revision))
    await asyncio.sleep(0)
    table.remove("a")
    assert await waiting is None


async def test_a_cancelled_waiter_is_forgotten() -> None:
    table = table_of(live("a"))
    waiting = asyncio.create_task(table.changed("a", 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert table.waiters == 0


def test_listeners_get_each_state_until_they_stop() -> None:
    table = JobTable()
    heard: list[tuple[int, str]] = []

    def listener(each: LiveJob) -> None:
        heard.append((each.revision, job_pb2.JobStatus.Name(each.job.status)))

    table.listen(listener)
    table.put(live("a"))
    table.put(live("a", COMPLETED))
    table.unlisten(listener)
    table.put(live("b"))
    assert heard == [(1, "JOB_STATUS_QUEUED"), (2, "JOB_STATUS_COMPLETED")]
    assert list(islice((each.final for each in table.newest()), 2)) == [False, True]
