"""The removal of jobs beyond the bounds of the retention."""

import asyncio
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.config import Config, RetentionConfig
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.supervisor import retention
from jobworkerd.supervisor.removal import Removal
from tests.unit.supervisor.job_table import (
    CONFIG,
    Server,
    accept_writes,
    command,
    refuse_writes,
    running_table,
)


def bounded(**bounds: int) -> Config:
    return replace(CONFIG, retention=RetentionConfig(**bounds))


async def kept(server: Server) -> list[str]:
    """Wait until the retention has no more work, and return the remaining jobs, oldest first."""
    await asyncio.sleep(0)
    while (task := server.jobs._retention._task) and not task.done():
        await asyncio.sleep(0.001)
    return [job.id for job in server.jobs.list(ListJobs(page_size=99)).jobs][::-1]


async def test_retention_by_count(tmp_path: Path) -> None:
    async with running_table(tmp_path, bounded(max_jobs=3)) as server:
        jobs = [await server.run("true") for _ in range(5)]
        await server.jobs.start(command("sleep", "100"))
        assert (await kept(server))[:3] == [job.id for job in jobs[2:]]
        assert server.forgotten == [job.id for job in jobs[:2]]
    async with running_table(tmp_path, bounded(max_jobs=1)) as server:
        assert len(await kept(server)) == 1
    assert len(list((tmp_path / "jobs").iterdir())) <= 2


async def test_retention_by_age(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        old, new = await server.run("true"), await server.run("true")
        await server.context.records.update(replace(old, end_time_ns=5))
    async with running_table(tmp_path, bounded(max_age=3_600)) as server:
        assert await kept(server) == [new.id]


async def test_retention_by_bytes(tmp_path: Path) -> None:
    async with running_table(tmp_path) as server:
        jobs = [await server.run("true") for _ in range(4)]
        for job, stored in zip(jobs, (0, 500, 400, 300), strict=True):
            server.context.records.ended_logs.set_stored(job.id, stored)
    async with running_table(tmp_path, bounded(max_bytes=700)) as server:
        assert await kept(server) == [jobs[0].id, *(job.id for job in jobs[2:])]


@pytest.mark.parametrize(("step", "least"), [(0.01, 0.03), (0.2, 0.05)], ids=["short", "long"])
async def test_retention_pauses_between_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, least: float
) -> None:
    # It takes a quarter of a core, and a slow step delays the next one by 50 ms at most.
    begins, ends, computed = [], [], []
    remove, pause = Removal.remove, retention._pause

    async def slow_remove(removal: Removal, reason: RemovalReason, *job_ids: str) -> None:
        begins.append(time.monotonic())
        await remove(removal, reason, *job_ids)
        await asyncio.sleep(step)
        ends.append(time.monotonic())

    def note_pause(step_seconds: float) -> float:
        computed.append(pause(step_seconds))
        return computed[-1]

    async with running_table(tmp_path) as server:
        for _ in range(5):
            await server.run("true")
    monkeypatch.setattr(retention, "_JOBS_PER_STEP", 1)
    monkeypatch.setattr(Removal, "remove", slow_remove)
    monkeypatch.setattr(retention, "_pause", note_pause)
    async with running_table(tmp_path, bounded(max_jobs=1)) as server:
        assert len(await kept(server)) == 1
    pauses = [begin - end for end, begin in zip(ends, begins[1:], strict=False)]
    assert len(pauses) == 3
    assert min(pauses) >= least
    assert max(computed) <= 0.05


async def test_a_full_disk_postpones_the_retention(tmp_path: Path) -> None:
    faults: list[str] = []
    async with running_table(tmp_path, bounded(max_jobs=1), faults) as server:
        await server.run("true")
        job = await server.jobs.start(command("sleep", "0.05"))
        refuse_writes(server)
        await server.ended(job.id)
        assert len(await kept(server)) == 2
        assert faults == ["records"]
        accept_writes(server)
        await server.run("true")
        assert len(await kept(server)) == 1
