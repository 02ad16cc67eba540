"""Database files of other versions, damaged files, and files of a server that was killed."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.job_id import key_of
from jobworkerd.model import JobStatus, Termination, TerminationReason
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records.database import open_database
from jobworkerd.records.schema import VERSION
from jobworkerd.records.store import Records
from jobworkerd.startup import CannotStart
from tests.unit.records.conftest import MakeJob, opened

DATA = Path(__file__).with_name("data")
NAME = "jobworker.db"


@pytest.mark.parametrize("version", range(1, VERSION + 1))
async def test_a_database_of_each_version_can_be_opened(tmp_path: Path, version: int) -> None:
    shutil.copy(DATA / f"version-{version}.db", tmp_path / NAME)
    with opened(tmp_path) as records:
        assert records._connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        (running,) = records.unfinished()
        assert (running.status, running.pid, running.spec.labels) == (JobStatus.RUNNING, 42, {"team": "a"})
        page = records.page(ListJobs(page_size=9))
        assert [job.status for job in page.jobs] == [JobStatus.RUNNING, JobStatus.FAILED, JobStatus.COMPLETED]
        failed = page.jobs[1]
        assert failed.termination == Termination(
            reason=TerminationReason.EXITED, message="exited with code 3", leftovers_killed=True
        )
        assert failed.spec.env == {}
        assert (records.final_jobs(), records.ended_logs.total) == (2, 1_500)
        assert records.ended_logs.oldest() == (page.jobs[2].id, 500)
        first = records.first_request(replace(failed.spec, owner="CN=alice", request_id="r"))
        assert first == (failed.id, b"0123456789abcdef")
        assert records.meta("boot_id") == "f00"
        assert records.newest_key() == key_of(running.id)


async def test_a_newer_version_is_refused_and_not_changed(tmp_path: Path) -> None:
    with opened(tmp_path) as records:
        records._connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(
        CannotStart, match=rf"version {VERSION + 1}, but .* up to {VERSION}; install the release"
    ):
        open_database(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


def garbage(content: bytes) -> bytes:
    return b"not a database " * (len(content) // 15)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 3]


def damaged_schema(content: bytes) -> bytes:
    return content[:200] + b"\xff" * 3_000 + content[3_200:]


@pytest.mark.parametrize("damage", [garbage, truncated, damaged_schema])
async def test_a_damaged_file_is_refused_and_not_changed(
    tmp_path: Path, make_job: MakeJob, damage: Callable[[bytes], bytes]
) -> None:
    with opened(tmp_path) as records:
        for _ in range(100):
            await records.insert(make_job())
    broken = damage((tmp_path / NAME).read_bytes())
    (tmp_path / NAME).write_bytes(broken)
    with pytest.raises(
        CannotStart, match=r"jobworker\.db is damaged .*; restore it .* from a backup, or move"
    ):
        open_database(tmp_path)
    assert (tmp_path / NAME).read_bytes() == broken


async def test_a_damaged_page_fails_reads_and_does_not_end_the_server(
    tmp_path: Path, make_job: MakeJob
) -> None:
    with opened(tmp_path) as records:
        jobs = [make_job() for _ in range(500)]
        for job in jobs:
            await records.insert(job)
    content = bytearray((tmp_path / NAME).read_bytes())
    chance = random.Random(1)
    for page in range(20, len(content) // 4096, 2):
        content[page * 4096 : page * 4096 + 4096] = chance.randbytes(4096)
    (tmp_path / NAME).write_bytes(content)
    faults: list[str] = []
    found = failed = 0
    with opened(tmp_path, faults) as records:
        for job in jobs:
            try:
                found += records.get(job.id) == job
            except OSError:
                failed += 1
    assert failed
    assert found + failed <= len(jobs)


@pytest.mark.parametrize("name", ["", "x" * 300])
async def test_a_directory_that_cannot_be_used_is_refused(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "missing" if not name else tmp_path
    if name:
        (tmp_path / NAME).mkdir()
    with pytest.raises(CannotStart, match=r"cannot be read and written .*check the disk"):
        open_database(directory)


async def batches(records: Records, make_job: MakeJob, count: int) -> list[list[str]]:
    """Commit transactions that each insert two jobs and delete one of the previous two."""
    states: list[list[str]] = [[]]
    previous = None
    for _ in range(count):
        pair = [make_job(labels={"k": "v"}), make_job(args=("x" * 3_000,), labels={"k": "v"})]
        if previous:
            records.delete_later(previous)
        await asyncio.gather(*(records.insert(job) for job in pair))
        state = [each for each in states[-1] if each != previous] + [job.id for job in pair]
        states.append(state)
        previous = pair[0].id
    return states


async def test_each_half_written_log_opens_with_whole_transactions(tmp_path: Path, make_job: MakeJob) -> None:
    """A killed server, or a host without power, can leave any part of the last writes."""
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with opened(state) as records:
        states = await batches(records, make_job, 12)
        database, log = (state / NAME).read_bytes(), (state / f"{NAME}-wal").read_bytes()
    written = len(log.rstrip(b"\0"))
    chance = random.Random(7)
    cuts = [0, 1, 31, 32, 33, *(chance.randrange(written) for _ in range(150)), written, len(log)]
    seen = []
    for cut in sorted(cuts):
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        (copy / NAME).write_bytes(database)
        (copy / f"{NAME}-wal").write_bytes(log[:cut])
        with opened(copy) as records:
            ids = [job.id for job in records.page(ListJobs(page_size=99, labels={"k": "v"})).jobs][::-1]
            assert ids in states
            assert records.final_jobs() == len(ids)
            assert records._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        seen.append(states.index(ids))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 12)
    assert len(set(seen)) > 8


async def test_torn_bytes_in_the_log_are_not_read(tmp_path: Path, make_job: MakeJob) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy"
    state.mkdir()
    with opened(state) as records:
        states = await batches(records, make_job, 12)
        database, log = (state / NAME).read_bytes(), (state / f"{NAME}-wal").read_bytes()
    written = len(log.rstrip(b"\0"))
    chance = random.Random(3)
    for _ in range(50):
        at = chance.randrange(32, written)
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        (copy / NAME).write_bytes(database)
        torn = bytearray(log)
        torn[at : at + 512] = chance.randbytes(512)
        (copy / f"{NAME}-wal").write_bytes(torn)
        with opened(copy) as records:
            ids = [job.id for job in records.page(ListJobs(page_size=99)).jobs][::-1]
            assert ids in states


def test_a_failed_migration_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = (("CREATE TABLE one (x)", "CREATE TABLE one (x)"),)
    monkeypatch.setattr("jobworkerd.records.database.MIGRATIONS", bad)
    with pytest.raises(CannotStart):
        open_database(tmp_path)
    connection = sqlite3.connect(tmp_path / NAME)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()
