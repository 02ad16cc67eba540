"""The life of a job, with a real process, on a host without cgroups."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.logs.store import LogStore
from jobworkerd.model import Job, JobSpec, JobStatus, Limits, LimitsPolicy
from jobworkerd.supervisor.life import Host, LiveJob
from jobworkerd.supervisor.spare import SpareProcess

HOUR_NS = 3_600 * 10**9


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    loop = asyncio.get_running_loop()
    watcher, spare = PopulatedWatcher(loop), SpareProcess((256, 256))
    logs = LogStore(tmp_path, 1 << 20, 1 << 20, lambda _: None)
    yield Host(
        loop, Hierarchy(None, "no cgroups here"), watcher, logs, [], spare, memoryview(bytearray(4096))
    )
    spare.close()
    watcher.close()


def job(*argv: str, policy: LimitsPolicy = LimitsPolicy.BEST_EFFORT) -> Job:
    spec = JobSpec(
        command=argv[0],
        args=argv[1:],
        limits=Limits(max_cpu=100, max_memory=64, max_io_bps=0, max_pids=0),
        limits_policy=policy,
        stop_signal=15,
        stop_grace_period=1.0,
        owner="CN=alice",
    )
    return Job(id="j", spec=spec, status=JobStatus.INITIALIZING, create_time_ns=time.time_ns())


async def test_a_step_of_the_clock_does_not_change_how_long_a_job_ran(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveJob(job("true"), host, lambda _: None)
    running = await live.run()
    ago = time.time_ns() - HOUR_NS
    monkeypatch.setattr(time, "time_ns", lambda: ago)
    ended = await live.end()
    assert ended.status is JobStatus.COMPLETED
    assert ended.usage.wall_usec is not None
    assert 0 < ended.usage.wall_usec < HOUR_NS // 1_000
    assert ended.end_time_ns == running.start_time_ns  # never before its start
