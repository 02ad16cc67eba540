"""The life of a job with a real process, on a host without cgroups."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from job_context import JOB_ID, NO_CGROUPS, commit_nothing, job_context, new_job, spare_setup
from msgspec.structs import replace

from jobworkerd.cgroup.group_scan import GroupScan
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.config import IsolationConfig
from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import (
    AppliedLimit,
    JobStatus,
    Limits,
    LimitsPolicy,
    LimitsUpdate,
    TerminationReason,
)
from jobworkerd.supervisor import kill_timer
from jobworkerd.supervisor.job_context import JobContext
from jobworkerd.supervisor.live_job import LiveJob
from jobworkerd.supervisor.outcome import StopRequest

UPDATE = LimitsUpdate(max_memory=32, max_pids=5)
HOUR_NS = 3_600 * 10**9


@pytest.fixture
def warnings() -> list[dict[str, object]]:
    """The warnings in the server's log."""
    return []


@pytest.fixture
async def context(tmp_path: Path, warnings: list[dict[str, object]]) -> AsyncIterator[JobContext]:
    isolation = IsolationConfig(
        run_as="server",
        mount_namespace=False,
        pid_namespace=False,
        ipc_namespace=False,
        uts_namespace=False,
        no_new_privileges=False,
    )
    with job_context(
        tmp_path,
        Hierarchy(None, NO_CGROUPS),
        spare_setup(),
        isolation,
        warn=lambda event, **fields: warnings.append({"event": event, **fields}),
        on_fault=lambda what, error: pytest.fail(f"{what}: {error}"),
    ) as made:
        yield made


async def start(context: JobContext, *argv: str) -> LiveJob:
    return await LiveJob.start(new_job(*argv), context, lambda _: None, lambda _: None, commit_nothing)


async def test_a_step_of_the_wall_clock_does_not_change_the_running_time(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await start(context, "true")
    running = live.snapshot()
    ago = time.time_ns() - HOUR_NS
    monkeypatch.setattr(time, "time_ns", lambda: ago)
    ended = await live.end()
    assert ended.status is JobStatus.COMPLETED
    assert ended.usage.wall_usec is not None
    assert 0 < ended.usage.wall_usec < HOUR_NS // 1_000
    assert ended.end_time_ns == running.start_time_ns  # never before its start


async def test_a_clock_that_was_set_back_does_not_move_the_start_before_the_creation(
    context: JobContext,
) -> None:
    job = replace(new_job("true"), create_time_ns=time.time_ns() + HOUR_NS)
    live = await LiveJob.start(job, context, lambda _: None, lambda _: None, commit_nothing)
    ended = await live.end()
    assert ended.create_time_ns == ended.start_time_ns == ended.end_time_ns


@pytest.mark.parametrize(("grace_period", "number"), [(0, signal.SIGKILL), (60, signal.SIGTERM)])
async def test_a_job_can_be_stopped_before_it_has_a_process(
    context: JobContext, grace_period: float, number: int
) -> None:
    def stop(live: LiveJob) -> None:
        live.stop(StopRequest(TerminationReason.STOPPED, "CN=bob"), grace_period)

    live = await LiveJob.start(new_job("sleep", "100"), context, stop, lambda _: None, commit_nothing)
    async with asyncio.timeout(30):
        ended = await live.end()
    assert ended.status is JobStatus.STOPPED
    assert ended.termination
    assert (ended.termination.signal, ended.termination.stopped_by) == (number, "CN=bob")


class Cgroup(ProcessGroup):
    """Imitates a cgroup of a kernel that accepts all limits except those in `refused`."""

    def __init__(self, *refused: str) -> None:
        super().__init__("", GroupScan())
        self.refused = refused
        self.holds: dict[str, int | str] = {}

    def change(
        self,
        limits: Limits,
        names: Iterable[str],
        io_paths: Sequence[Path],  # noqa: ARG002 - as JobCgroup
    ) -> tuple[AppliedLimit, ...]:
        wanted = {name: getattr(limits, name) for name in names}
        self.holds |= {name: value for name, value in wanted.items() if name not in self.refused}
        return tuple(self._applied(name, value) for name, value in wanted.items() if value)

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        return tuple(applied)

    def _applied(self, name: str, value: int) -> AppliedLimit:
        reason = "the kernel has none" if name in self.refused else ""
        return AppliedLimit(limit=name, in_force=not reason, value=str(value), reason=reason)


async def started(context: JobContext, cgroup: Cgroup, policy: LimitsPolicy) -> LiveJob:
    """Start a job and replace its containment by a cgroup with limits."""
    live = await start(context, "sleep", "100")
    assert live._processes.main
    cgroup.attach_main(live._processes.main.pid)
    live._resources.containment = cgroup
    applied = cgroup.change(live._job.spec.limits, ["max_cpu", "max_memory"], [])
    spec = replace(live._job.spec, limits_policy=policy)
    live._state.set(job=replace(live._job, spec=spec, applied_limits=applied))
    return live


@asynccontextmanager
async def sleeping(context: JobContext, cgroup: Cgroup, policy: LimitsPolicy) -> AsyncIterator[LiveJob]:
    """Run a job until the context ends."""
    live = await started(context, cgroup, policy)
    try:
        yield live
    finally:
        live.stop(StopRequest(TerminationReason.STOPPED), 0)
        await live.end()


async def test_an_update_changes_the_named_limits(context: JobContext) -> None:
    cgroup = Cgroup()
    async with sleeping(context, cgroup, LimitsPolicy.STRICT) as live:
        updated = live.update(UPDATE)
    assert (updated.spec.limits.max_memory, updated.spec.limits.max_cpu) == (32, 100)
    values = {limit.limit: limit.value for limit in updated.applied_limits}
    assert values == {"max_cpu": "100", "max_memory": "32", "max_pids": "5"}
    assert cgroup.holds == {"max_cpu": 100, "max_memory": 32, "max_pids": 5}


async def test_a_lifted_limit_is_removed_from_the_record(context: JobContext) -> None:
    async with sleeping(context, Cgroup(), LimitsPolicy.STRICT) as live:
        live.update(UPDATE)
        updated = live.update(LimitsUpdate(max_pids=0))
    assert [limit.limit for limit in updated.applied_limits] == ["max_memory", "max_cpu"]


async def test_a_refused_update_of_a_strict_job_changes_nothing(context: JobContext) -> None:
    cgroup = Cgroup("max_pids")
    async with sleeping(context, cgroup, LimitsPolicy.STRICT) as live:
        before = live.snapshot()
        with pytest.raises(LimitUnavailable, match="max_pids cannot be enforced: the kernel has none"):
            live.update(UPDATE)
        after = live.snapshot()
    assert cgroup.holds["max_memory"] == 64
    assert after.spec == before.spec
    assert set(after.applied_limits) == set(before.applied_limits)


async def test_best_effort_records_limits_that_are_not_in_force(context: JobContext) -> None:
    async with sleeping(context, Cgroup("max_pids"), LimitsPolicy.BEST_EFFORT) as live:
        updated = live.update(UPDATE)
    assert updated.spec.limits.max_pids == 5
    (refused,) = (limit for limit in updated.applied_limits if not limit.in_force)
    assert (refused.limit, refused.reason) == ("max_pids", "the kernel has none")


async def test_a_lifted_memory_high_is_recorded_until_the_limit_changes(
    context: JobContext, warnings: list[dict[str, object]]
) -> None:
    async with sleeping(context, Cgroup(), LimitsPolicy.STRICT) as live:
        live.limits.lift_memory_high()
        assert warnings == [{"event": "memory.high lifted", "job_id": JOB_ID, "max_memory": 64}]
        assert live.update(LimitsUpdate(max_pids=5)).memory_high_lift_time_ns
        assert live.update(LimitsUpdate(max_memory=32)).memory_high_lift_time_ns is None


class Unkillable(Cgroup):
    """A cgroup whose processes are in an uninterruptible sleep until `let_die`."""

    def __init__(self) -> None:
        super().__init__()
        self.dead = asyncio.Event()
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1
        if self.dead.is_set():
            super().kill()

    def let_die(self) -> None:
        self.dead.set()
        super().kill()


async def test_a_kill_without_effect_is_recorded_and_logged(
    context: JobContext, warnings: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_timer, "EFFECT_SECONDS", 0.05)
    cgroup = Unkillable()
    live = await started(context, cgroup, LimitsPolicy.BEST_EFFORT)
    pid = live.snapshot().pid
    ended = asyncio.create_task(live.end())
    live.stop(StopRequest(TerminationReason.STOPPED, "CN=bob"), 0)
    async with asyncio.timeout(10):
        while not live.snapshot().kill_pending:
            await asyncio.sleep(0.01)
    assert cgroup.kills == 1
    assert not ended.done()
    (warning,) = warnings
    assert warning["event"] == "kill has no effect"
    (process,) = cast("list[dict[str, object]]", warning["processes"])
    assert (process["pid"], process["command"], process["state"]) == (pid, "sleep", "S")
    cgroup.let_die()
    final = await ended
    assert (final.status, final.kill_pending) == (JobStatus.STOPPED, False)
