"""The size of the database file after deletions."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from jobworkerd.records import checkpoint, vacuum
from jobworkerd.records.store import Records
from tests.unit.records.conftest import MakeJob, opened

NAME = "jobworker.db"
JOBS = 300


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Return a page per step without a delay, and keep few free pages."""
    monkeypatch.setattr(vacuum, "_KEPT_PAGES", 8)
    monkeypatch.setattr(vacuum, "_STEP_SECONDS", 0.0005)
    monkeypatch.setattr(checkpoint, "_VACUUM_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "_VACUUM_PAUSE_SECONDS", 0.0)


async def fill(records: Records, make_job: MakeJob) -> list[str]:
    jobs = [make_job(args=(os.urandom(4_000).hex(),)) for _ in range(JOBS)]
    await asyncio.gather(*(records.insert(job) for job in jobs))
    return [job.id for job in jobs]


def size_in(directory: Path) -> int:
    return (directory / NAME).stat().st_size


async def until_smaller(directory: Path, size: int) -> None:
    async with asyncio.timeout(30):
        while size_in(directory) >= size:
            await asyncio.sleep(0.01)


async def test_the_file_shrinks_after_deletions(tmp_path: Path, make_job: MakeJob) -> None:
    with opened(tmp_path) as records:
        ids = await fill(records, make_job)
    size = size_in(tmp_path)
    assert size > JOBS * 8_000
    with opened(tmp_path) as records:
        await records.delete(*ids[:-3])
        await until_smaller(tmp_path, size // 10)
        assert [records.has(each) for each in ids[-4:]] == [False, True, True, True]
        assert records._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_commits_continue_between_the_steps(tmp_path: Path, make_job: MakeJob) -> None:
    with opened(tmp_path) as records:
        ids = await fill(records, make_job)
        await records.delete(*ids)
        shrinking = asyncio.create_task(until_smaller(tmp_path, JOBS * 8_000 // 10))
        while not shrinking.done():
            job = make_job()
            await records.insert(job)
            await records.delete(job.id)
        await shrinking
        assert records.final_jobs() == 0


async def test_no_step_interrupts_a_transaction(
    tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_VACUUM_DELAY_SECONDS", 600.0)
    with opened(tmp_path) as records:
        ids = await fill(records, make_job)
        await records.delete(*ids)
        records._connection.execute("BEGIN IMMEDIATE")
        assert await asyncio.to_thread(records._checkpointer._return_pages) is False
        records._connection.execute("ROLLBACK")
        assert await asyncio.to_thread(records._checkpointer._return_pages) is True


async def test_a_file_of_the_first_versions_keeps_its_size(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).with_name("data") / "version-1.db", tmp_path / NAME)
    with opened(tmp_path) as records:
        assert not records._checkpointer._can_vacuum
