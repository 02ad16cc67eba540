"""Records of jobs: reads, writes, and what a restart keeps."""

import asyncio
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.job_id import key_of
from jobworkerd.model import Job, JobStatus
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records.encoding import request_hash
from jobworkerd.records.store import Records
from sample_jobs import SPEC
from tests.unit.records.conftest import MakeJob, opened

FILES = ("jobworker.db", "jobworker.db-wal", "jobworker.db-shm")


async def test_a_restart_keeps_the_records(tmp_path: Path, make_job: MakeJob) -> None:
    first, second = make_job(JobStatus.RUNNING), make_job()
    with opened(tmp_path) as records:
        await records.insert(first)
        await records.insert(second)
    with opened(tmp_path) as again:
        assert again.get(first.id) == first
        assert again.get(second.id) == second
        assert again.get(make_job().id) is None
        assert again.unfinished() == [first]
        assert again.newest_key() == key_of(second.id)


async def test_only_the_owner_can_read_the_files(records: Records, tmp_path: Path, make_job: MakeJob) -> None:
    await records.insert(make_job())
    for name in FILES:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_an_update_replaces_the_record(records: Records, make_job: MakeJob) -> None:
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    records.update_later(replace(job, pid=7))
    assert records.get(job.id) == replace(job, pid=7)
    ended = replace(job, status=JobStatus.COMPLETED, end_time_ns=job.create_time_ns + 1)
    await records.update(ended)
    assert records.get(job.id) == ended
    assert records.unfinished() == []


async def test_an_update_reaches_the_disk_without_a_reader(
    records: Records, tmp_path: Path, make_job: MakeJob
) -> None:
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    records.update_later(replace(job, pid=7))
    await asyncio.sleep(0.1)
    with opened(tmp_path) as other:
        assert other.get(job.id) == replace(job, pid=7)


async def test_a_deleted_record_leaves_nothing(records: Records, make_job: MakeJob) -> None:
    kept, deleted = make_job(labels={"k": "v"}), make_job(labels={"k": "v"}, request_id="r")
    await records.insert(kept)
    await records.insert(deleted)
    assert records.get(deleted.id)
    await records.delete(deleted.id)
    assert records.get(deleted.id) is None
    assert records.first_request(deleted.spec) is None
    assert records.page(ListJobs(page_size=9, labels={"k": "v"})).jobs == (kept,)
    assert records._connection.execute("SELECT count(*) FROM label").fetchone() == (1,)
    assert records.final_jobs() == 1


async def test_the_environment_is_not_stored(tmp_path: Path, make_job: MakeJob) -> None:
    job = make_job(env={"PASSWORD": "correct-horse"})
    with opened(tmp_path) as records:
        await records.insert(job, request_hash(job.spec))
        assert b"CN=alice" in (tmp_path / "jobworker.db-wal").read_bytes()
        for name in FILES:
            assert b"correct-horse" not in (tmp_path / name).read_bytes()
    with opened(tmp_path) as again:
        found = again.get(job.id)
    assert found
    assert found.spec.env == {}
    assert b"correct-horse" not in (tmp_path / "jobworker.db").read_bytes()


async def test_a_request_id_is_found_after_a_restart(tmp_path: Path, make_job: MakeJob) -> None:
    job = make_job(request_id="r", labels={"a": "1", "b": "2"})
    with opened(tmp_path) as records:
        await records.insert(job, request_hash(job.spec))
        records.update_later(replace(job, pid=7))
    with opened(tmp_path) as again:
        assert again.first_request(job.spec) == (job.id, request_hash(job.spec))
        assert again.first_request(replace(job.spec, owner="CN=bob")) is None
        assert again.first_request(replace(job.spec, request_id="s")) is None


def test_the_hash_of_a_request_does_not_depend_on_the_order_of_its_maps() -> None:
    one = request_hash(replace(SPEC, labels={"a": "1", "b": "2"}, env={"c": "3", "d": "4"}))
    assert one == request_hash(replace(SPEC, labels={"b": "2", "a": "1"}, env={"d": "4", "c": "3"}))
    assert one != request_hash(replace(SPEC, labels={"a": "1", "b": "2"}, env={"c": "3", "d": "5"}))


async def test_the_oldest_final_jobs_are_those_that_ended_first(records: Records, make_job: MakeJob) -> None:
    jobs = [make_job(), make_job(), make_job(JobStatus.RUNNING)]
    late = replace(jobs[0], end_time_ns=jobs[2].create_time_ns + 1)
    for job in (late, *jobs[1:]):
        await records.insert(job)
    assert records.final_jobs() == 2
    assert records.oldest_final(9) == [jobs[1].id, late.id]
    assert records.oldest_final(1) == [jobs[1].id]
    assert records.oldest_final(9, ended_before_ns=late.end_time_ns) == [jobs[1].id]


async def test_the_totals_follow_each_change(records: Records, make_job: MakeJob) -> None:
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    assert (records.final_jobs(), records.ended_logs.total) == (0, 0)
    records.ended_logs.set_stored(job.id, 500)
    ended = replace(job, status=JobStatus.STOPPED, end_time_ns=job.create_time_ns)
    await records.update(ended)
    await records.update(ended)
    assert (records.final_jobs(), records.ended_logs.total) == (1, 500)
    records.ended_logs.set_stored(job.id, 300)
    records._queue.flush()
    assert (records.final_jobs(), records.ended_logs.total) == (1, 300)
    await records.delete(job.id)
    assert (records.final_jobs(), records.ended_logs.total) == (0, 0)


async def test_the_log_that_ended_first_is_the_oldest(records: Records, make_job: MakeJob) -> None:
    jobs = [make_job(), make_job(), make_job()]
    for number, job in enumerate(jobs):
        await records.insert(job)
        records.ended_logs.set_stored(job.id, 100 + number)
    records._queue.flush()
    assert records.ended_logs.oldest() == (jobs[0].id, 100)
    records.ended_logs.set_stored(jobs[0].id, 0)
    assert records.ended_logs.oldest() == (jobs[1].id, 101)  # also before the commit
    records._queue.flush()
    assert records.ended_logs.oldest() == (jobs[1].id, 101)


async def test_values_of_the_server_survive(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        assert records.meta("boot_id") == ""
        records.set_meta("boot_id", "one")
        assert records.meta("boot_id") == "one"
        records.set_meta("boot_id", "two")
    with opened(tmp_path) as again:
        assert again.meta("boot_id") == "two"


async def test_the_memory_of_final_jobs_is_bounded(records: Records, make_job: MakeJob) -> None:
    small = [make_job() for _ in range(1_000)]
    large = [make_job(args=("x" * 100_000,) * 3) for _ in range(10)]
    for jobs, most in ((small, 524), (large, 3)):
        await asyncio.gather(*(records.insert(job) for job in jobs))
        for job in jobs:
            assert records.get(job.id) == job
        assert 0 < len(records._cache._jobs) <= most
    huge = make_job(args=("x" * 100_000,) * 11)
    await records.update(huge)
    assert len(records._cache._jobs) == 0
    assert [records.get(job.id) for job in (huge, small[0], large[0])] == [huge, small[0], large[0]]


async def test_the_cache_keeps_the_jobs_that_were_used_last(records: Records, make_job: MakeJob) -> None:
    jobs = [make_job() for _ in range(1_000)]
    await asyncio.gather(*(records.insert(job) for job in jobs))
    for job in jobs:
        records.get(job.id)
        records.get(jobs[0].id)
    kept = records._cache._jobs
    assert jobs[0].id in kept
    assert jobs[1].id not in kept
    assert jobs[-1].id in kept


async def test_a_full_sync_waits_for_the_disk(tmp_path: Path, make_job: MakeJob) -> None:
    records = Records(tmp_path, lambda what, error: pytest.fail(f"{what}: {error}"), full_sync=True)
    synced: list[str] = []
    records._checkpointer._sync = lambda: synced.append("sync")  # type: ignore[method-assign]
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    await records.update(replace(job, pid=1))
    await records.delete(job.id)
    assert synced == ["sync"] * 3
    records.close()


async def test_checkpoints_bound_the_log_of_the_database(
    records: Records, tmp_path: Path, make_job: MakeJob, faults: list[str]
) -> None:
    wal = tmp_path / "jobworker.db-wal"
    job = make_job(JobStatus.RUNNING)
    for number in range(6_000):
        await records.insert(replace(job, pid=number))
        if number % 50 == 0:
            await asyncio.sleep(0.001)
    assert wal.stat().st_size < 32 << 20  # all commits write 48 MiB
    assert faults == []


@pytest.mark.parametrize("change", [Records.insert, Records.replace, Records.update])
async def test_no_change_shows_an_environment_before_its_commit(
    records: Records, make_job: MakeJob, change: Callable[[Records, Job], Coroutine[None, None, None]]
) -> None:
    job = make_job(JobStatus.RUNNING, env={"PASSWORD": "secret"})
    committed = asyncio.create_task(change(records, job))
    await asyncio.sleep(0)
    found = records.get(job.id)
    assert found
    assert found.spec.env == {}
    await committed
