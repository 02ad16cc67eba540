"""A job continues with the next supervisor, whenever the supervisor is killed."""

import asyncio
import dataclasses
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from host_resources import cgroups, children, close_garbage, descriptors
from job_context import NO_CGROUPS, job_context, spare_setup
from own_children import OwnChildren

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.config import IsolationConfig
from jobworkerd.errors import CommandNotStarted, JobNotFound
from jobworkerd.model import Job, JobStatus, LimitsUpdate, TerminationReason
from jobworkerd.spawn import process
from jobworkerd.supervisor import job_state, stored_jobs
from jobworkerd.supervisor.holder import HeldJob
from jobworkerd.supervisor.outcome import StopRequest
from jobworkerd.trace_context import JobTrace, TraceContext
from tests.unit.supervisor.job_table import CONFIG, Server, until
from tests.unit.supervisor.killed_supervisor import Holder, Killed, Parent, Supervisor

STOP = StopRequest(TerminationReason.STOPPED, "CN=bob")
CLEANUP = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
IMMUNE = "trap '' TERM; echo ready; while :; do sleep 0.01; done"
REMOVED = "another program removed the job's cgroup"
TIMEOUT_SECONDS = 30


@pytest.fixture(params=["cgroup", "process group"])
async def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor. With cgroups, its jobs also have PID namespaces, if the test has the privileges."""
    close_garbage()
    isolation = IsolationConfig(mount_namespace=False, ipc_namespace=False, uts_namespace=False)
    jobs_dir = tmp_path / "jobs"
    jobs_dir.mkdir()
    with ExitStack() as stack:
        hierarchy, setup = Hierarchy(None, NO_CGROUPS), spare_setup()
        if request.param == "cgroup":
            hierarchy, setup = stack.enter_context(cgroups()), spare_setup("pid")
        holder = Holder()
        stack.callback(holder.close)
        faults: list[str] = []
        context = job_context(
            jobs_dir,
            hierarchy,
            setup,
            isolation,
            holder=holder,
            on_fault=lambda what, error: faults.append(f"{what}: {error!r}"),
        )
        made = stack.enter_context(context)
        assert isinstance(made.parent, OwnChildren)
        made = dataclasses.replace(made, parent=Parent(made.parent, holder.statuses))
        yield Supervisor(made, holder, faults)


def resources(supervisor: Supervisor) -> tuple[object, ...]:
    """Return the resources in use, except spare processes."""
    hierarchy, context = supervisor.context.hierarchy, supervisor.context
    return (
        descriptors(),
        len(children()),
        [each.name for each in hierarchy.jobs.iterdir() if each.is_dir()] if hierarchy.base else [],
        len(context.users._free),
        supervisor.holder.entries,
    )


async def settled(supervisor: Supervisor) -> tuple[object, ...]:
    """Return the resources in use when all spare processes are ready and all others have ended."""
    pool = supervisor.context.spare_pool
    while pool.size or pool._outdated:
        pool.drop()
        await asyncio.sleep(0.002)
    while not supervisor.context.parent.reap_discarded():  # type: ignore[attr-defined]
        await asyncio.sleep(0.002)
    return resources(supervisor)


def output(supervisor: Supervisor) -> bytes:
    """Return the whole log of the last job."""
    (directory,) = supervisor.context.logs._jobs_dir.glob(f"*-{supervisor.number:04x}-7*")
    return (directory / "output.log").read_bytes()


async def until_output(supervisor: Supervisor, size: int) -> None:
    """Wait until the log has a size."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while supervisor.live[0].log_size < size:
            await asyncio.sleep(0.002)


async def exits(supervisor: Supervisor) -> Job:
    """Run a job that writes output, leaves a process and exits."""
    await supervisor.start("sh", "-c", "echo one; sleep 1000 & sleep 0.02; echo two; exit 3")
    return await supervisor.end()


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
async def test_a_job_continues_after_a_kill_at_each_step(supervisor: Supervisor, *, before: bool) -> None:
    await exits(supervisor)
    initial = await settled(supervisor)
    kills = 0
    # Before the first call, the supervisor has acquired resources of which nothing else knows.
    for kill_at in range(int(before), 100):
        supervisor.holder.arm(kill_at, before=before)
        try:
            await exits(supervisor)
        except Killed:
            kills += 1
            supervisor.kill()
            job = await supervisor.finish()
        else:
            break
        assert supervisor.faults == []
        if kill_at == 0:
            assert job is None, "the record is not stored, so nothing may run"
        else:
            assert job
            assert (job.status, job.exit_code) == (JobStatus.FAILED, 3), kill_at
            assert job.termination
            assert job.termination.reason is TerminationReason.EXITED
            assert job.termination.leftovers_killed
            assert output(supervisor) == b"one\ntwo\n"
            assert job.log_size == 8
            assert supervisor.context.records.get(job.id) == job
        assert await settled(supervisor) == initial, kill_at
    assert kills >= 4


@pytest.mark.parametrize("released", [False, True])
async def test_a_job_continues_after_a_kill_around_its_release(
    supervisor: Supervisor, *, released: bool
) -> None:
    """The next supervisor releases the command in both cases. It runs once."""

    def killed(control: socket.socket, cgroup: int | None) -> None:
        if released:
            release(control, cgroup)
        raise Killed

    initial, release = await settled(supervisor), process.release
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "release", killed)
        with pytest.raises(Killed):
            await supervisor.start("sh", "-c", "echo one; exit 3")
    supervisor.kill()
    job = await supervisor.finish()
    assert job
    assert (job.exit_code, output(supervisor)) == (3, b"one\n")
    assert await settled(supervisor) == initial


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
async def test_a_failed_start_fails_after_a_kill_at_each_step(
    supervisor: Supervisor, *, before: bool
) -> None:
    initial = await settled(supervisor)
    for kill_at in range(1, 3):
        supervisor.holder.arm(kill_at, before=before)
        with pytest.raises((Killed, CommandNotStarted)) as error:
            await supervisor.start("/nonexistent")
        if error.type is CommandNotStarted:
            await supervisor.live[0].abandon()
            break
        supervisor.kill()
        await supervisor.succeed()
        (live,) = supervisor.live
        with pytest.raises(CommandNotStarted):
            await live.resume()
        assert await settled(supervisor) == initial, kill_at
    assert kill_at == 2


@pytest.mark.parametrize("was_queued", [False, True])
async def test_a_failed_start_of_a_queued_job_is_its_end(supervisor: Supervisor, *, was_queued: bool) -> None:
    """A queued job was acknowledged, so its record stays. Any other job was not."""
    initial = await settled(supervisor)
    supervisor.holder.arm(1)
    with pytest.raises(Killed):
        await supervisor.start("/nonexistent", was_queued=was_queued)
    supervisor.kill()
    table = Server(supervisor.context, CONFIG)
    (job_id,) = await table.jobs.adopt(supervisor.holder.received())
    await until(lambda: not table.jobs.live_ids and not table.jobs.queued.is_changing(job_id))
    if was_queued:
        final = table.jobs.get(job_id)
        assert final.termination
        assert (final.status, final.start_time_ns) == (JobStatus.FAILED, None)
        assert final.termination.reason is TerminationReason.NOT_STARTED
        assert "/nonexistent" in final.termination.message
    else:
        with pytest.raises(JobNotFound):
            table.jobs.get(job_id)
    assert await settled(supervisor) == initial
    table.jobs.close()


@pytest.mark.parametrize("kill_at", range(2))
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
async def test_a_stop_continues_with_one_signal(
    supervisor: Supervisor, kill_at: int, *, before: bool
) -> None:
    live = await supervisor.start("sh", "-c", CLEANUP)
    await until_output(supervisor, 6)
    supervisor.holder.arm(kill_at, before=before)
    with pytest.raises(Killed):
        live.stop(STOP, 60)
    supervisor.kill()
    await supervisor.succeed()
    if kill_at == 0 and before:  # the request had no effect, and the client repeats it
        supervisor.live[0].stop(STOP, 60)
    job = await supervisor.end()
    assert (job.status, job.exit_code) == (JobStatus.STOPPED, 5)
    assert job.termination
    assert job.termination.stopped_by == "CN=bob"
    assert output(supervisor).count(b"got") == 1


async def test_a_stop_before_the_main_process_is_known_continues(supervisor: Supervisor) -> None:
    def stop(*_: object) -> None:
        supervisor.live[0].stop(STOP, 60)

    insert = supervisor.context.records.insert

    async def commit(job: Job) -> None:
        stop()
        await insert(job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor.context.records, "insert", commit)
        supervisor.holder.arm(2, before=True)
        with pytest.raises(Killed):
            await supervisor.start("sleep", "1000")
    supervisor.kill()
    job = await supervisor.finish()
    assert job
    assert job.termination
    assert (job.status, job.termination.signal) == (JobStatus.STOPPED, 15)


async def test_the_end_of_the_grace_period_remains(supervisor: Supervisor) -> None:
    live = await supervisor.start("sh", "-c", IMMUNE)
    await until_output(supervisor, 6)
    stopped = time.monotonic()
    live.stop(STOP, 0.4)
    await asyncio.sleep(0.1)
    supervisor.kill()
    job = await supervisor.finish()
    assert job
    assert job.termination
    assert (job.status, job.termination.signal) == (JobStatus.STOPPED, 9)
    assert 0.4 <= time.monotonic() - stopped < 5


async def test_the_timeout_and_the_running_time_count_from_the_start(supervisor: Supervisor) -> None:
    await supervisor.start("sleep", "1000", timeout=0.4)
    started = time.monotonic()
    await asyncio.sleep(0.2)
    supervisor.kill()
    job = await supervisor.finish()
    assert job
    assert job.termination
    assert job.termination.reason is TerminationReason.TIMED_OUT
    assert job.usage.wall_usec
    assert 0.35 <= time.monotonic() - started < 5
    assert job.usage.wall_usec >= 350_000


async def test_an_update_remains(supervisor: Supervisor) -> None:
    live = await supervisor.start("sleep", "1000")
    before = live.update(LimitsUpdate(max_memory=32))
    supervisor.kill()
    await supervisor.succeed()
    after = supervisor.live[0].snapshot()
    assert after.spec.limits.max_memory == 32
    assert after == before
    supervisor.live[0].stop(STOP, 0)
    await supervisor.end()


@pytest.fixture
def with_cgroup(supervisor: Supervisor) -> Supervisor:
    """A supervisor whose jobs have cgroups."""
    if supervisor.context.hierarchy.base is None:
        pytest.skip("this process cannot create cgroups, or does not have to")
    return supervisor


def remove_cgroup(supervisor: Supervisor) -> None:
    """Move the job's processes to another cgroup and remove the job's own, as another program can."""
    hierarchy = supervisor.context.hierarchy
    assert hierarchy.base
    (cgroup,) = (each for each in hierarchy.jobs.iterdir() if each.is_dir())
    for pid in (cgroup / "cgroup.procs").read_text().split():
        (hierarchy.base.parent / "cgroup.procs").write_text(pid)
    cgroup.rmdir()


async def test_a_job_without_its_cgroup_continues_without_limits(with_cgroup: Supervisor) -> None:
    supervisor = with_cgroup
    initial = await settled(supervisor)
    live = await supervisor.start("sh", "-c", "sleep 1000 & echo ready; wait")
    await until_output(supervisor, 6)
    supervisor.kill()
    remove_cgroup(supervisor)
    await supervisor.succeed()
    for _ in range(2):
        (live,) = supervisor.live
        assert {each.reason for each in live.snapshot().applied_limits} == {REMOVED}
        assert {each.reason for each in live.snapshot(live_usage=True).applied_limits} == {REMOVED}
        supervisor.kill()
        await supervisor.succeed()
    supervisor.live[0].stop(STOP, 60)
    job = await supervisor.end()
    assert job.termination
    assert (job.status, job.termination.signal) == (JobStatus.STOPPED, 15)
    assert {each.reason for each in job.applied_limits} == {REMOVED}
    assert await settled(supervisor) == initial
    assert supervisor.faults == []


async def test_a_job_that_ended_without_its_cgroup_has_its_result(with_cgroup: Supervisor) -> None:
    supervisor = with_cgroup
    initial = await settled(supervisor)
    await supervisor.start("sh", "-c", "echo one; exit 4")
    await asyncio.sleep(0.1)
    supervisor.kill()
    remove_cgroup(supervisor)
    job = await supervisor.finish()
    assert job
    assert (job.exit_code, output(supervisor)) == (4, b"one\n")
    assert await settled(supervisor) == initial


async def test_a_command_does_not_start_without_its_cgroup(with_cgroup: Supervisor) -> None:
    """Without a cgroup, it would run without limits."""
    supervisor = with_cgroup
    initial = await settled(supervisor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "release", _killed)
        with pytest.raises(Killed):
            await supervisor.start("sh", "-c", "echo one")
    supervisor.kill()
    remove_cgroup(supervisor)
    assert await supervisor.succeed() == []
    assert supervisor.live == []
    assert len(supervisor.faults) == 1
    assert output(supervisor) == b""
    assert await settled(supervisor) == initial


def _killed(*_: object) -> None:
    raise Killed


async def test_output_and_the_result_wait_for_the_next_supervisor(supervisor: Supervisor) -> None:
    await supervisor.start("sh", "-c", "echo one; sleep 0.05; echo two >&2; exit 4")
    await until_output(supervisor, 4)
    supervisor.kill()
    await asyncio.sleep(0.2)
    job = await supervisor.finish()
    assert job
    assert (job.exit_code, output(supervisor)) == (4, b"one\ntwo\n")


async def test_a_final_job_is_held_until_the_disk_accepts_its_record(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_jobs, "_RETRY_SECONDS", 0.01)
    live = await supervisor.start("true")
    await live.end()
    with pytest.MonkeyPatch.context() as refusing:
        refusing.setattr(supervisor.context.records, "is_stored", lambda _: False)
        await supervisor.succeed()
        assert [job.status for job in supervisor.ended] == [JobStatus.COMPLETED]
        assert live.id in supervisor.holder.entries
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while live.id in supervisor.holder.entries:
            await asyncio.sleep(0.01)


async def test_the_span_of_a_job_survives_a_kill_at_each_step(supervisor: Supervisor) -> None:
    parent = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", exported=True)
    trace = JobTrace.below(parent)
    assert trace
    kills = 0
    for kill_at in range(1, 100):
        supervisor.holder.arm(kill_at, before=True)
        try:
            await supervisor.start("true", trace=trace)
            await supervisor.end()
        except Killed:
            kills += 1
            supervisor.kill()
            job = await supervisor.finish()
        else:
            break
        assert job
        assert job.trace
        assert (job.trace.parent, job.trace.span_id) == (parent, trace.span_id), kill_at
        await settled(supervisor)
    assert kills >= 3


async def test_the_span_of_a_job_whose_record_is_final_is_sent_by_the_next_supervisor(
    supervisor: Supervisor,
) -> None:
    """The earlier supervisor was killed between the commit and the notice."""
    trace = JobTrace.below(TraceContext("00-" + "1" * 32 + "-" + "2" * 16 + "-01", exported=True))
    live = await supervisor.start("true", trace=trace)
    await supervisor.context.records.update(await live.end())
    await supervisor.succeed()
    assert supervisor.ended == []
    found: list[Job] = []
    supervisor.context.spans.connected(found.append, exports=True)
    assert [job.id for job in found] == [live.id]


async def test_a_state_that_cannot_be_read_is_lost(supervisor: Supervisor) -> None:
    live = await supervisor.start("sleep", "1000")
    entry = supervisor.holder.entries[live.id]
    supervisor.holder.entries[live.id] = HeldJob(b"unknown", entry.descriptors)
    assert await supervisor.succeed() == []
    assert supervisor.holder.entries == {}
    live._state._held = False
    live.stop(STOP, 0)
    await live.end()


async def test_the_environment_is_not_held(supervisor: Supervisor) -> None:
    await supervisor.start("true", env={"TOKEN": "secret"})
    await supervisor.end()
    states = supervisor.holder.states
    assert len(states) >= 4
    assert not any(b"secret" in state for state in states)
    assert job_state.decode(states[0]).job.spec.command == "true"


async def test_an_exhausted_host_holds_the_state_later(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_state, "_RETRY_SECONDS", 0.01)
    live = await supervisor.start("sleep", "1000")
    hold = supervisor.holder.hold

    def exhausted(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(supervisor.holder, "hold", exhausted)
    live.update(LimitsUpdate(max_memory=32))
    monkeypatch.setattr(supervisor.holder, "hold", hold)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while job_state.decode(supervisor.holder.states[-1]).job.spec.limits.max_memory != 32:
            await asyncio.sleep(0.002)
    live.stop(STOP, 0)
    await supervisor.end()
