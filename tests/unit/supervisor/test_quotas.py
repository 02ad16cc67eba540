"""The bounds on the jobs of one client."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.errors import QuotaExceeded, TooManyJobs
from jobworkerd.model import JobStatus
from jobworkerd.quotas import AdminQuota, QuotaConfig
from tests.unit.supervisor.job_table import CONFIG, Server, command, create, running_table, stop

TWO_RUNNING = replace(CONFIG, max_jobs=3, quota=QuotaConfig(admin=AdminQuota(running_jobs=2, queued_jobs=2)))


async def run_long(server: Server, owner: str) -> str:
    job = await server.jobs.start(command("sleep", "1000", owner=owner))
    assert job.status is JobStatus.RUNNING
    return job.id


async def test_a_client_runs_at_most_its_quota(tmp_path: Path) -> None:
    async with running_table(tmp_path, TWO_RUNNING) as server:
        first, _ = await run_long(server, "ann"), await run_long(server, "ann")
        with pytest.raises(QuotaExceeded, match=r"2 jobs are running.*quota\.admin\.running_jobs") as caught:
            await run_long(server, "ann")
        assert caught.value.limit == 2
        waiting = await create(server, "true", owner="ann")
        assert (waiting.status, waiting.queue_position) == (JobStatus.QUEUED, 1)
        assert waiting.queue_reason == (
            "2 jobs of its owner are running, which is the maximum of one client (quota.admin.running_jobs)"
        )
        await stop(server, server.jobs.get(first))
        assert (await server.ended(waiting.id)).status is JobStatus.COMPLETED


async def test_a_client_at_its_quota_does_not_delay_others(tmp_path: Path) -> None:
    async with running_table(tmp_path, TWO_RUNNING) as server:
        await run_long(server, "ann"), await run_long(server, "ann")
        waiting = await create(server, "true", owner="ann", priority=100)
        await run_long(server, "bob")
        with pytest.raises(TooManyJobs, match="max_jobs"):
            await run_long(server, "bob")
        other = await create(server, "true", owner="bob")
        assert server.jobs.get(other.id).queue_reason.startswith("1 job is ahead; 3 jobs are running")
        assert server.jobs.get(waiting.id).status is JobStatus.QUEUED


async def test_a_client_queues_at_most_its_quota(tmp_path: Path) -> None:
    async with running_table(tmp_path, TWO_RUNNING) as server:
        await run_long(server, "ann"), await run_long(server, "ann")
        results = await asyncio.gather(
            *(create(server, "true", owner="ann") for _ in range(5)), return_exceptions=True
        )
        refused = [each for each in results if isinstance(each, QuotaExceeded)]
        assert len(refused) == 3
        assert {each.quota for each in refused} == {"quota.admin.queued_jobs"}
        await run_long(server, "bob")
        assert (await create(server, "true", owner="bob")).status is JobStatus.QUEUED


async def test_creates_are_bounded_before_a_job_starts(tmp_path: Path) -> None:
    config = replace(CONFIG, quota=QuotaConfig(admin=AdminQuota(create_rate=0.001)))
    async with running_table(tmp_path, config) as server:
        await server.jobs.start(command("true", owner="ann"))
        with pytest.raises(QuotaExceeded, match="create_rate"):
            await server.jobs.start(command("true", owner="ann"))
        await server.jobs.start(command("true", owner="bob"))
