"""The life of an attempt, with a host and a cluster that fail."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from jobworker.v1 import job_pb2, job_service_pb2, node_service_pb2
from jobworker_agent.cluster import AttemptOver, ClusterUnavailable, SecretRefused, Spec
from jobworker_agent.host_errors import HostError, HostUnavailable, JobUnknown, OutcomeUnknown, RunRefused
from jobworker_agent.pod_run import PodRun, StepCounts
from jobworker_agent.start import Starter
from jobworker_cluster.pods import JobPod
from jobworker_cluster.trace_headers import TraceHeaders
from tests.unit.agent.fakes import (
    ID,
    TRACE,
    FakeCluster,
    FakeHost,
    Faults,
    HeldLease,
    Killed,
    a_job,
    a_pod,
)

RUNNING = job_pb2.JOB_STATUS_RUNNING
COMPLETED = job_pb2.JOB_STATUS_COMPLETED
BUSY = HostUnavailable("TOO_MANY_JOBS", "8 jobs are running; retry when a job has ended")
RESTARTING = HostUnavailable("SUPERVISOR_UNAVAILABLE", "the server restarts")
AWAY = ClusterUnavailable("connection refused")


class Node:
    """A host with its cluster, and an agent that can start again."""

    def __init__(self, pod: JobPod | None = None, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.host = FakeHost(self.faults)
        self.cluster = FakeCluster(pod or a_pod(), self.faults)
        self.lease = HeldLease()
        self.steps: StepCounts = Counter()
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def new_run(self) -> PodRun:
        assert self.cluster.pod
        starter = Starter("host1", self.host, self.cluster, self.lease)
        return PodRun(self.cluster.pod, starter, self._sleep, steps=self.steps)

    def statuses(self) -> list[job_pb2.JobStatus.ValueType]:
        return [job.status for job in self.cluster.reports]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()
        assert len(self.slept) < 100, "the run does not end"
        await asyncio.sleep(0)


async def test_a_job_is_started_reported_awaited_and_reported() -> None:
    node = Node()
    node.host.ends_by_itself = True
    await node.new_run().run()
    assert node.faults.calls == ["read_spec", "run", "report", "wait", "report"]
    assert node.statuses() == [RUNNING, COMPLETED]
    [start] = node.host.starts
    assert (start.id, start.owner, start.node, start.attempt) == (ID, "CN=alice,OU=Admin", "host1", 1)
    assert start.fenced
    assert start.job.request_id == "uid-1"
    assert node.host.traces == [TRACE]
    assert node.steps == {("start", "success"): 1, ("report", "success"): 2, ("wait", "success"): 1}


async def test_an_attempt_that_the_cluster_has_given_up_does_not_start() -> None:
    node = Node()
    node.faults.errors["read_spec"] = [AttemptOver("attempt 2 has begun")]
    await node.new_run().run()
    assert node.host.starts == []
    [record] = node.cluster.reports
    assert (record.status, record.termination.reason) == (
        job_pb2.JOB_STATUS_STOPPED,
        job_pb2.TERMINATION_REASON_EVICTED,
    )


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("die_at", range(5))
async def test_an_agent_that_is_killed_at_any_step_continues_after_a_restart(
    die_at: int, moment: str
) -> None:
    node = Node()
    node.host.ends_by_itself = True
    node.faults.die_at, node.faults.die_after = die_at, moment == "after"
    killed = False
    try:
        await node.new_run().run()
    except Killed:
        killed = True
    assert killed or moment == "after"  # a call without an effect has no moment after it
    await node.new_run().run()
    assert len(node.host.starts) == 1
    assert node.statuses()[-1] == COMPLETED
    assert node.statuses().count(COMPLETED) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("die_at", range(6))
async def test_an_agent_that_is_killed_during_an_eviction_continues_it(die_at: int, moment: str) -> None:
    node = Node()

    def evict_after_start() -> None:
        assert node.cluster.pod
        node.cluster.pod = replace(node.cluster.pod, deleted=True, disruption="EvictionByEvictionAPI")

    node.cluster.on_report = evict_after_start
    node.faults.die_at, node.faults.die_after = die_at, moment == "after"
    for _ in range(3):
        run = node.new_run()
        task = asyncio.ensure_future(run.run())
        while not task.done():
            await asyncio.sleep(0)
            assert node.cluster.pod
            run.update(node.cluster.pod)
        if not isinstance(task.exception(), Killed):
            break
    assert len(node.host.starts) == 1
    assert node.statuses()[-1] == job_pb2.JOB_STATUS_STOPPED
    assert node.cluster.reports[-1].termination.message.startswith("drained: ")


async def test_the_pod_of_a_job_that_waits_for_room_says_so() -> None:
    """Users of the host can have taken the room that the scheduler counted on."""
    node = Node()
    node.host.ends_by_itself = True
    node.faults.errors["run"] = [RESTARTING, BUSY, BUSY, BUSY]
    run = node.new_run()

    def see_pod() -> None:
        assert node.cluster.pod
        run.update(node.cluster.pod)

    node.on_sleep = see_pod
    await run.run()
    assert node.faults.calls.count("note_shortage") == 1
    assert node.cluster.pod
    assert node.cluster.pod.shortage == "8 jobs are running"
    assert node.statuses() == [RUNNING, COMPLETED]


@pytest.mark.parametrize(("attempt", "seconds", "ends"), [(1, 10, True), (2, 10, False), (1, 10**10, False)])
async def test_a_job_that_waits_for_room_has_its_queue_timeout(
    attempt: int, seconds: int, *, ends: bool
) -> None:
    pod = a_pod(attempt=attempt)
    pod.initial.queue_timeout.FromSeconds(seconds)
    node = Node(pod)
    node.host.ends_by_itself = True
    node.faults.errors["run"] = [BUSY]
    await node.new_run().run()
    assert len(node.host.starts) == (not ends)
    if ends:
        [record] = node.cluster.reports
        assert record.status == job_pb2.JOB_STATUS_FAILED
        assert record.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT
        assert record.termination.message == "reached the queue timeout of 10 s; the command never ran"


async def test_a_wrong_clock_of_the_host_does_not_end_the_time_in_the_queue() -> None:
    pod = a_pod()
    pod.initial.queue_timeout.FromSeconds(60)
    node = Node(pod)
    node.host.ends_by_itself = True
    node.cluster.now = pod.initial.create_time.ToDatetime(UTC) + timedelta(seconds=59)
    node.faults.errors["run"] = [BUSY]
    await node.new_run().run()
    assert node.statuses() == [RUNNING, COMPLETED]


@pytest.mark.parametrize("call", ["read_spec", "run", "report", "wait"])
@pytest.mark.parametrize("error", [RESTARTING, BUSY, AWAY, ValueError("a defect of the agent")])
async def test_a_step_that_fails_for_a_while_is_repeated(call: str, error: Exception) -> None:
    node = Node()
    node.host.ends_by_itself = True
    node.faults.errors[call] = [error] * 20
    await node.new_run().run()
    assert len(node.host.starts) == 1
    assert node.statuses()[-2:] == [RUNNING, COMPLETED]
    assert len(node.slept) == 20
    assert max(node.slept) <= 10.0


async def test_steps_that_were_delayed_and_steps_with_a_fault_are_counted() -> None:
    node = Node()
    node.host.ends_by_itself = True
    node.faults.errors |= {"report": [AWAY, AWAY], "wait": [RuntimeError("a fault of the agent")]}
    await node.new_run().run()
    assert node.steps == {
        ("start", "success"): 1,
        ("report", "delayed"): 2,
        ("report", "success"): 2,
        ("wait", "failed"): 1,
        ("wait", "success"): 1,
    }


async def test_a_final_record_waits_until_the_cluster_is_back() -> None:
    """Kubernetes is away from before the end of the job until long after it."""
    node = Node()
    node.host.ends_by_itself = True
    node.cluster.on_report = lambda: node.faults.errors.update(report=[AWAY] * 50)
    run = node.new_run()
    node.on_sleep = lambda: node.cluster.__setattr__("on_report", lambda: None)
    await run.run()
    assert node.statuses() == [RUNNING, COMPLETED]
    assert node.faults.calls.count("report") == 52


async def test_no_job_starts_without_a_lease() -> None:
    node = Node()
    node.host.ends_by_itself = True
    node.lease.held_since = None
    node.on_sleep = lambda: node.lease.__setattr__("held_since", 2.0 if len(node.slept) == 5 else None)
    await node.new_run().run()
    assert len(node.slept) == 5
    assert node.statuses() == [RUNNING, COMPLETED]


class GivenUp(FakeCluster):
    """The cluster gives up the attempt after its Secret was read."""

    lease: HeldLease

    async def read_spec(self, pod: JobPod) -> Spec:
        if self.lease.held_since == 2.0:
            raise AttemptOver("attempt 2 has begun")
        spec = await super().read_spec(pod)
        self.lease.held_since = 2.0
        return spec


async def test_no_attempt_starts_that_was_given_up_while_the_host_was_suspended() -> None:
    """The answer with the Secret arrives after the renewal of the lease that ended meanwhile."""
    node = Node()
    cluster = GivenUp(a_pod(), node.faults)
    cluster.lease, node.cluster = node.lease, cluster
    node.host.ends_by_itself = True
    await node.new_run().run()
    assert not node.host.starts
    assert node.cluster.reports[-1].termination.reason == job_pb2.TERMINATION_REASON_EVICTED


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (None, "the Secret secret-1 cannot be read: it does not exist"),
        (b"\xff", "the Secret secret-1 has no valid request"),
    ],
)
async def test_a_job_without_a_usable_secret_fails(spec: bytes | None, message: str) -> None:
    node = Node()
    node.cluster.spec = spec
    await node.new_run().run()
    [job] = node.cluster.reports
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_NOT_STARTED
    assert job.termination.message == message
    assert not node.host.starts


async def test_a_job_waits_for_an_agent_that_may_not_read_its_secret() -> None:
    """The identity of the agent is wrong, not the job: this node would fail all jobs of the cluster."""
    node = Node()
    node.host.ends_by_itself = True
    node.faults.errors["read_spec"] = [SecretRefused("forbidden: no relationship")] * 40
    run = node.new_run()

    def see_pod() -> None:
        assert node.cluster.pod
        run.update(node.cluster.pod)

    node.on_sleep = see_pod
    await run.run()
    assert node.faults.calls.index("note_shortage") == 11
    assert node.faults.calls.count("note_shortage") == 1
    assert node.cluster.pod
    assert node.cluster.pod.shortage == "forbidden: no relationship"
    assert node.statuses() == [RUNNING, COMPLETED]


async def test_a_job_whose_secret_is_refused_has_its_queue_timeout() -> None:
    pod = a_pod()
    pod.initial.queue_timeout.FromSeconds(10)
    node = Node(pod)
    node.faults.errors["read_spec"] = [SecretRefused("forbidden")] * 40
    await node.new_run().run()
    [record] = node.cluster.reports
    assert record.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT


async def test_a_secret_that_appears_late_is_used() -> None:
    node = Node()
    node.host.ends_by_itself = True
    spec, node.cluster.spec = node.cluster.spec, None
    node.on_sleep = lambda: node.cluster.__setattr__("spec", spec)
    await node.new_run().run()
    assert node.statuses() == [RUNNING, COMPLETED]


@pytest.mark.parametrize(
    "error",
    [
        RunRefused("COMMAND_NOT_STARTED", "nope: No such file or directory", "command", "ENOENT"),
        JobUnknown("JOB_NOT_FOUND", "no job has this id"),  # the host refuses an id that is not a UUIDv7
    ],
)
async def test_a_job_that_the_host_refuses_fails_with_the_reason(error: HostError) -> None:
    node = Node()
    node.host.ends_by_itself = True
    node.faults.errors["run"] = [error]
    await node.new_run().run()
    [job] = node.cluster.reports
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.message == str(error)
    assert job.termination.HasField("start_error") == isinstance(error, RunRefused)
    if isinstance(error, RunRefused):
        assert job.termination.start_error == error.start_error


class FailingHost(FakeHost):
    """The connection breaks, or the server fails, after the job has started."""

    async def run(self, request: node_service_pb2.RunJobRequest, trace: TraceHeaders) -> job_pb2.Job:
        await super().run(request, trace)
        raise OutcomeUnknown("UNKNOWN", "Stream removed")


async def test_a_job_that_has_started_is_not_one_that_has_not() -> None:
    node = Node()
    node.host = FailingHost(node.faults, ends_by_itself=True)
    await node.new_run().run()
    assert node.statuses() == [RUNNING, COMPLETED]


async def test_a_job_whose_start_failed_unexpectedly_has_not_started() -> None:
    node = Node()
    node.faults.errors["run"] = [OutcomeUnknown("INTERNAL", "internal error")]
    await node.new_run().run()
    [record] = node.cluster.reports
    assert record.termination.reason == job_pb2.TERMINATION_REASON_NOT_STARTED
    assert record.termination.message == "internal error"


async def test_the_next_attempt_replaces_the_output_of_the_one_before() -> None:
    node = Node(a_pod("uid-2", attempt=2))
    node.host.ends_by_itself = True
    node.host.jobs[ID] = a_job(job_pb2.JOB_STATUS_STOPPED)
    node.host.request_ids[ID] = "uid-1"
    await node.new_run().run()
    assert node.faults.calls[:6] == ["read_spec", "run", "evict", "delete", "read_spec", "run"]
    assert node.cluster.reports[-1].attempt == 2


async def test_no_attempt_starts_that_was_given_up_while_the_one_before_ended() -> None:
    """The grace period of the earlier attempt can be longer than the lease."""
    node = Node(a_pod("uid-2", attempt=2))
    node.host.jobs[ID] = a_job()
    node.host.request_ids[ID] = "uid-1"

    class SlowHost(FakeHost):
        async def evict(self, job_id: str, message: str) -> job_pb2.Job:
            node.faults.errors["read_spec"] = [AttemptOver("attempt 3 has begun")]
            return await super().evict(job_id, message)

    node.host = SlowHost(node.faults, node.host.jobs, node.host.request_ids, ends_by_itself=True)
    await node.new_run().run()
    assert not node.host.starts
    assert node.cluster.reports[-1].termination.reason == job_pb2.TERMINATION_REASON_EVICTED


async def test_a_job_that_ran_for_a_removed_pod_does_not_run_again() -> None:
    """An administrator removed the Pod, and a gateway created it again."""
    node = Node(a_pod("uid-2"))
    node.cluster.spec = job_service_pb2.CreateJobRequest(command="true").SerializeToString()
    node.host.jobs[ID] = a_job()
    node.host.request_ids[ID] = "uid-1"
    await node.new_run().run()
    assert node.statuses() == [job_pb2.JOB_STATUS_LOST]
    assert not node.host.starts


@pytest.mark.parametrize("call", ["evict", "delete"])
async def test_an_attempt_that_cannot_be_removed_does_not_fail_the_next_one(call: str) -> None:
    node = Node(a_pod("uid-2", attempt=2))
    node.host.ends_by_itself = True
    node.host.jobs[ID] = a_job()
    node.host.request_ids[ID] = "uid-1"
    node.faults.errors[call] = [RunRefused("JOB_NOT_FINAL", "the job runs")] * 3
    await node.new_run().run()
    assert node.statuses() == [RUNNING, COMPLETED]


async def test_an_attempt_that_still_runs_ends_before_the_next_one() -> None:
    node = Node(a_pod("uid-2", attempt=2))
    node.host.ends_by_itself = True
    node.host.jobs[ID] = a_job()
    node.host.request_ids[ID] = "uid-1"
    await node.new_run().run()
    assert len(node.host.starts) == 1
    assert node.statuses() == [RUNNING, COMPLETED]


async def test_a_pod_that_is_deleted_before_the_start_never_starts() -> None:
    node = Node(replace(a_pod(), deleted=True, stopped_by="CN=bob"))
    await node.new_run().run()
    assert node.faults.calls == ["find", "report"]
    [job] = node.cluster.reports
    assert job.termination.stopped_by == "CN=bob"


async def test_the_record_of_another_attempt_is_not_that_of_a_deleted_pod() -> None:
    node = Node(replace(a_pod("uid-2", attempt=2), deleted=True))
    node.host.jobs[ID] = a_job(COMPLETED, attempt=1)
    await node.new_run().run()
    assert node.statuses() == [job_pb2.JOB_STATUS_STOPPED]


async def test_a_pod_that_is_deleted_while_it_waits_for_room_never_starts() -> None:
    node = Node()
    node.faults.errors["run"] = [BUSY] * 1_000
    run = node.new_run()
    node.on_sleep = lambda: run.update(replace(a_pod(), deleted=True))
    await run.run()
    assert node.statuses() == [job_pb2.JOB_STATUS_STOPPED]
    assert not node.host.starts


@pytest.mark.parametrize(
    ("stopped_by", "call"), [("CN=bob", "stop"), ("", "evict")], ids=["by a client", "by the cluster"]
)
async def test_a_pod_that_is_deleted_while_it_runs_ends_its_job(stopped_by: str, call: str) -> None:
    node = Node()
    run = node.new_run()
    node.cluster.on_report = lambda: run.update(replace(a_pod(), deleted=True, stopped_by=stopped_by))
    await run.run()
    assert node.faults.calls[-2:] == [call, "report"]
    assert node.cluster.reports[-1].termination.stopped_by == stopped_by


@pytest.mark.parametrize("stopped_by", ["", "CN=eve"])
async def test_a_client_kills_a_job_that_is_being_stopped(stopped_by: str) -> None:
    ending = replace(a_pod(), deleted=True, stopped_by=stopped_by)
    node = Node(ending)
    node.host.jobs[ID] = a_job()
    node.host.ignores_stops = True
    run = node.new_run()
    task = asyncio.ensure_future(run.run())
    async with asyncio.timeout(30):
        while not {"evict", "stop"} & set(node.faults.calls):
            await asyncio.sleep(0)
        run.update(replace(ending, stopped_by="CN=bob", stop_grace_period=0.0))
        await task
    assert node.host.grace_periods[-1] == 0
    assert node.statuses() == [job_pb2.JOB_STATUS_STOPPED]


async def test_a_stop_goes_on_after_a_restart_of_the_server() -> None:
    node = Node(replace(a_pod(), deleted=True, record=a_job()))
    node.host.jobs[ID] = a_job()
    node.faults.errors["evict"] = [RESTARTING] * 3
    await node.new_run().run()
    assert node.statuses() == [job_pb2.JOB_STATUS_STOPPED]


@pytest.mark.parametrize("call", ["wait", "evict"])
async def test_a_job_whose_record_disappears_is_lost(call: str) -> None:
    node = Node(replace(a_pod(), record=a_job(), deleted=call == "evict"))
    node.host.jobs[ID] = a_job()
    node.faults.errors[call] = [JobUnknown("JOB_NOT_FOUND", "no job has this id")]
    await node.new_run().run()
    assert node.statuses() == [job_pb2.JOB_STATUS_LOST]
    assert not node.host.starts


@pytest.mark.parametrize("pod", [replace(a_pod(), record=a_job()), replace(a_pod(), deleted=True)])
async def test_an_agent_that_is_not_the_node_reports_no_job_as_lost(pod: JobPod) -> None:
    """The host with the job has the same node name."""
    node = Node(pod)
    node.lease.held_since = None
    run = node.new_run()
    node.on_sleep = lambda: run.remove() if len(node.slept) == 5 else None
    await run.run()
    assert len(node.slept) == 5
    assert node.cluster.reports == []


async def test_a_run_ends_when_its_pod_is_gone() -> None:
    node = Node()
    run = node.new_run()
    node.cluster.pod = None
    await run.run()
    assert node.cluster.reports == []


async def test_a_run_ends_while_it_waits_when_its_pod_is_removed() -> None:
    node = Node()
    run = node.new_run()
    node.cluster.on_report = run.remove
    await run.run()
    assert node.statuses() == [RUNNING]
