"""A disk that fails while the server runs: refused and pending changes, and the recovery."""

import asyncio
import contextlib
import errno
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host_resources import descriptors, opened_since
from msgspec.structs import replace

from jobworkerd.model import JobStatus
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records import write_queue
from jobworkerd.records.encoding import request_hash
from jobworkerd.records.store import Records
from jobworkerd.startup import CannotStart
from small_disk import fill, small_disk
from tests.unit.records.conftest import MakeJob, opened

ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_WRITE: errno.EIO,
    sqlite3.SQLITE_IOERR_FSYNC: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}


class FaultyConnection:
    """A connection on which the n-th statement fails. SQLite's own type cannot be patched."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.statements = 0
        self.fail_at: int | None = None
        self.code = sqlite3.SQLITE_FULL

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.statements += 1
        if self.statements == self.fail_at:
            error = sqlite3.OperationalError("disk")
            error.sqlite_errorcode = self.code
            raise error
        return self._connection.execute(sql, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.fixture
def faulty(records: Records) -> FaultyConnection:
    connection = FaultyConnection(records._connection)
    records._queue._connection = connection  # type: ignore[assignment]
    return connection


@pytest.fixture(autouse=True)
def _fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "_RETRY_SECONDS", 0.02)


@pytest.mark.parametrize("code", ERRORS)
async def test_each_statement_of_an_insertion_can_fail(
    records: Records, faulty: FaultyConnection, make_job: MakeJob, code: int, faults: list[str]
) -> None:
    faulty.code = code
    for at in range(1, 10):
        job = make_job(labels={"k": "v"}, request_id=str(at))
        faulty.statements, faulty.fail_at = 0, at
        try:
            await records.insert(job, request_hash(job.spec))
        except OSError as error:
            assert error.errno == ERRORS[code]  # noqa: PT017 - success is valid, too
            assert records.get(job.id) is None
            assert records.first_request(job.spec) is None
            await records.insert(job, request_hash(job.spec))
        else:
            assert faulty.statements < at
        assert records.get(job.id) == job
    assert faults


@pytest.mark.parametrize("code", ERRORS)
async def test_a_final_record_waits_until_the_disk_works(
    records: Records, faulty: FaultyConnection, make_job: MakeJob, code: int, faults: list[str]
) -> None:
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    ended = replace(job, status=JobStatus.COMPLETED, end_time_ns=5)
    faulty.code = code
    faulty.statements, faulty.fail_at = 0, 1
    await records.update(ended)
    assert len(faults) == 1
    assert records.get(job.id) == ended
    assert records._connection.execute("SELECT status FROM job").fetchone() == ("running",)
    async with asyncio.timeout(5):
        while records._connection.execute("SELECT status FROM job").fetchone() != ("completed",):
            await asyncio.sleep(0.005)
    assert records.final_jobs() == 1


async def test_a_failure_and_the_recovery_are_reported_once(tmp_path: Path, make_job: MakeJob) -> None:
    reports: list[str] = []
    records = Records(tmp_path, lambda what, _: reports.append(what), lambda: reports.append("recovered"))
    job = make_job(JobStatus.RUNNING)
    await records.insert(job)
    records._connection.execute("PRAGMA query_only = ON")
    for pid in range(5):
        await records.update(replace(job, pid=pid))
        with pytest.raises(OSError, match="READONLY"):
            await records.insert(make_job())
    records._connection.execute("PRAGMA query_only = OFF")
    await asyncio.sleep(0.1)
    assert reports == ["records", "recovered"]
    records.close()


async def test_a_deletion_fails_as_a_whole(
    records: Records, faulty: FaultyConnection, make_job: MakeJob
) -> None:
    jobs = [make_job() for _ in range(3)]
    for job in jobs:
        await records.insert(job)
    faulty.statements, faulty.fail_at = 0, 3
    with pytest.raises(OSError, match="No space"):
        await records.delete(*(job.id for job in jobs))
    assert [records.get(job.id) for job in jobs] == jobs
    await records.delete(*(job.id for job in jobs))
    assert [records.get(job.id) for job in jobs] == [None] * 3


async def test_a_change_that_can_never_succeed_does_not_stop_the_others(
    records: Records, make_job: MakeJob, faults: list[str]
) -> None:
    first, repeated, other = make_job(request_id="r"), make_job(request_id="r"), make_job()
    await records.insert(first)
    results = await asyncio.gather(records.insert(repeated), records.insert(other), return_exceptions=True)
    assert isinstance(results[0], sqlite3.IntegrityError)
    assert results[1] is None
    assert records.get(repeated.id) is None
    assert records.get(other.id) == other
    assert len(faults) == 1


async def test_an_update_that_can_never_succeed_is_reported_and_ends(
    records: Records, make_job: MakeJob, faults: list[str]
) -> None:
    """The job of a final record that cannot be stored must end, too."""
    first = make_job(request_id="r")
    await records.insert(first)
    async with asyncio.timeout(5):
        await records.update(make_job(request_id="r"))
    assert [fault.split(":")[0] for fault in faults] == ["rejected record"]


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the database for writing, as another program can do."""
    other = sqlite3.connect(directory / "jobworker.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


async def test_a_short_lock_of_another_program_delays_changes(
    records: Records, tmp_path: Path, make_job: MakeJob, faults: list[str]
) -> None:
    job = make_job()
    with locked(tmp_path):
        inserted = asyncio.create_task(records.insert(job))
        await asyncio.sleep(0.05)
        assert not inserted.done()
    await inserted
    assert faults == []


async def test_a_long_lock_of_another_program_refuses_new_jobs(
    records: Records, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "_BUSY_SECONDS", 0.05)
    with locked(tmp_path):
        for _ in range(2):
            start = time.monotonic()
            with pytest.raises(BlockingIOError):
                await records.insert(make_job())
            assert time.monotonic() - start < 2
    await records.insert(make_job())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 6 MiB."""
    with small_disk(tmp_path / "disk", "6m") as directory:
        yield directory


@pytest.fixture
async def on_small_disk(disk: Path, faults: list[str]) -> AsyncIterator[Records]:
    with opened(disk, faults) as records:
        yield records


@pytest.mark.root
async def test_a_full_disk_takes_the_results_of_running_jobs(
    on_small_disk: Records, disk: Path, make_job: MakeJob, faults: list[str]
) -> None:
    records = on_small_disk
    jobs = [make_job(JobStatus.RUNNING) for _ in range(50)]
    for job in jobs:
        await records.insert(job)
    filler = fill(disk)
    ended = [replace(job, status=JobStatus.FAILED, end_time_ns=5) for job in jobs]
    for job in ended:
        await records.update(job)
    assert faults == []
    refused = 0
    for _ in range(2_000):
        try:
            await records.insert(make_job(args=("x" * 4_000,)))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - the first ones succeed
            refused += 1
    assert refused
    filler.unlink()
    job = make_job()
    await records.insert(job)
    assert records.get(job.id) == job
    assert [records.get(each.id) for each in ended] == ended
    assert faults.count(faults[0]) >= 1


@pytest.mark.root
async def test_a_read_only_disk_prevents_a_start_with_advice(disk: Path, make_job: MakeJob) -> None:
    with opened(disk) as records:
        await records.insert(make_job())
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)  # noqa: ASYNC221 - it is short
    with pytest.raises(CannotStart, match=r"cannot be read and written \(.*\); check the disk"):
        Records(disk, lambda *_: None)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)  # noqa: ASYNC221 - it is short
    with opened(disk) as records:
        assert len(records.page(ListJobs(page_size=9)).jobs) == 1


def kill_while_open(directory: Path) -> None:
    """Run a process that opens the database of a directory, and kill it."""
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from jobworkerd.records.database import open_database\n"
        "connection = open_database(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", script, directory], check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.root
async def test_a_database_of_a_killed_server_opens_although_the_disk_is_full(
    disk: Path, make_job: MakeJob
) -> None:
    """Another program takes the space of the index of the write-ahead log, while SQLite writes it again."""
    reserve = disk / "jobworker.db-reserve"
    await asyncio.to_thread(kill_while_open, disk)
    (disk / "jobworker.db-shm").write_bytes(b"")
    filler = fill(disk)
    faults: list[str] = []
    job = make_job()
    with opened(disk, faults) as records:
        assert not reserve.exists() or not reserve.stat().st_size
        await records.insert(job)
        filler.unlink()
        for _ in range(256):
            await records.insert(make_job(JobStatus.RUNNING))
        assert await _becomes(lambda: reserve.exists() and reserve.stat().st_blocks >= 512)
        assert records.get(job.id) == job
    assert faults == []


async def _becomes(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_host_without_threads_prevents_a_start_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    monkeypatch.setattr("threading.Thread.start", _no_thread)
    with pytest.raises(CannotStart, match="can't start new thread"):
        Records(tmp_path, lambda *_: None)
    assert not opened_since(before)


def _no_thread(_thread: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_no_descriptor_is_left_after_a_close(tmp_path: Path, make_job: MakeJob) -> None:
    with opened(tmp_path) as records:
        await records.insert(make_job())
    before = descriptors()
    for _ in range(5):
        with opened(tmp_path) as records:
            await records.insert(make_job())
        (tmp_path / "jobworker.db").rename(tmp_path / "good")
        (tmp_path / "jobworker.db").write_bytes(b"garbage" * 1_000)
        with pytest.raises(CannotStart):
            Records(tmp_path, lambda *_: None)
        (tmp_path / "good").rename(tmp_path / "jobworker.db")
    assert not opened_since(before)
