"""The background task that removes logs without a record."""

import asyncio
import errno
from pathlib import Path

from jobworkerd.job_id import JobIds
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.supervisor.log_sweep import LogSweep
from tests.unit.logs.stores import OUT, store

MIB = 1 << 20


def make_logs(jobs_dir: Path, count: int, size: int = 1) -> list[str]:
    """Make the log directories of an earlier server."""
    new = JobIds().new
    job_ids = [new() for _ in range(count)]
    for job_id in job_ids:
        (jobs_dir / job_id).mkdir()
        data_file(jobs_dir / job_id).write_bytes(bytes(size))
        index_file(jobs_dir / job_id).touch()
    return job_ids


def names(jobs_dir: Path) -> set[str]:
    return {entry.name for entry in jobs_dir.iterdir()}


async def until_left(jobs_dir: Path, expected: set[str]) -> None:
    async with asyncio.timeout(10):
        while names(jobs_dir) != expected:
            await asyncio.sleep(0.001)


async def test_only_logs_without_a_record_are_removed(tmp_path: Path) -> None:
    job_ids = make_logs(tmp_path, 100)
    owned = set(job_ids[::3])
    (tmp_path / "lost+found").mkdir()
    errors: list[OSError] = []
    with store(tmp_path) as logs:
        logs.prepare()
        sweep = LogSweep(asyncio.get_running_loop(), tmp_path, logs, owned.__contains__, errors.append)
        live = JobIds().new()
        logs.open(live).append(OUT, memoryview(b"x"), 1)
        assert len(names(tmp_path)) == 102, "nothing is removed before the first step"
        await until_left(tmp_path, owned | {live, "lost+found"})
        await asyncio.sleep(0.05)
        assert names(tmp_path) == owned | {live, "lost+found"}
        assert (errors, logs.total_bytes) == ([], 25)
        sweep.close()


async def test_the_space_of_a_large_log_is_reclaimed_in_pieces(tmp_path: Path) -> None:
    (job_id,) = make_logs(tmp_path, 1, 50 * MIB)
    other = tmp_path / "link"
    other.hardlink_to(data_file(tmp_path / job_id))
    with store(tmp_path) as logs:
        LogSweep(asyncio.get_running_loop(), tmp_path, logs, lambda _: False, print)
        sizes = set()
        async with asyncio.timeout(10):
            while size := other.stat().st_size:
                sizes.add(size // MIB)
                await asyncio.sleep(0)
    assert sizes == {50, 34, 18, 2}


async def test_unreadable_records_own_all_logs(tmp_path: Path) -> None:
    def fail(_: str) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    job_ids = set(make_logs(tmp_path, 3))
    errors: list[OSError] = []
    with store(tmp_path) as logs:
        LogSweep(asyncio.get_running_loop(), tmp_path, logs, fail, errors.append)
        await asyncio.sleep(0.05)
    assert [error.errno for error in errors] == [errno.EIO]
    assert names(tmp_path) == job_ids


async def test_a_closed_sweep_removes_nothing(tmp_path: Path) -> None:
    job_ids = set(make_logs(tmp_path, 3))
    with store(tmp_path) as logs:
        LogSweep(asyncio.get_running_loop(), tmp_path, logs, lambda _: False, print).close()
        await asyncio.sleep(0.05)
    assert names(tmp_path) == job_ids
