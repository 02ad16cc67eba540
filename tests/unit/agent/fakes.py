"""A host and a cluster in memory, which fail, and lose the agent, when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from jobworker.v1 import job_pb2, job_service_pb2, node_service_pb2
from jobworker_agent.cluster import NodeView, PodEvent, SecretUnreadable, Spec
from jobworker_agent.host_errors import JobUnknown, OtherAttempt
from jobworker_agent.pod_status import JsonObject
from jobworker_cluster.pods import JobPod
from jobworker_cluster.records import is_final
from jobworker_cluster.trace_headers import TraceHeaders

ID = "01900000-0000-7000-8000-000000000001"
OWNER = "CN=alice,OU=Admin"
HOST = node_service_pb2.GetHostResponse(
    max_cpu=400, max_memory=4096, max_jobs=40, version="0.1.0", kernel="6.1.0"
)
TRACE = TraceHeaders(f"00-{'1' * 32}-{'2' * 16}-01", "a=1")


class Killed(BaseException):
    """The agent dies here."""


def a_pod(uid: str = "uid-1", attempt: int = 1) -> JobPod:
    """Return a Pod that the scheduler has just bound."""
    initial = job_pb2.Job(
        id=ID, command="true", owner=OWNER, status=job_pb2.JOB_STATUS_QUEUED, queue_position=3
    )
    initial.create_time.FromSeconds(1_000)
    return JobPod(
        namespace="jobworker",
        name=f"job-{ID}",
        uid=uid,
        version=1,
        attempt=attempt,
        secret="secret-1",
        secret_uid="",
        gateway="",
        initial=initial,
        node="host1",
    )


def a_job(status: job_pb2.JobStatus.ValueType = job_pb2.JOB_STATUS_RUNNING, attempt: int = 1) -> job_pb2.Job:
    """Return a job of that Pod, as the host has it."""
    job = job_pb2.Job(id=ID, command="true", owner=OWNER, status=status, attempt=attempt)
    job.create_time.FromSeconds(1_000)
    job.start_time.FromSeconds(1_001)
    if is_final(job):
        job.end_time.FromSeconds(1_002)
    return job


@dataclass
class Faults:
    """Faults of a test: `errors` by the name of a call, and the death of the agent at the call `die_at`.

    The agent dies before the call has an effect, or between the effect and the answer.
    """

    errors: dict[str, list[Exception]] = field(default_factory=dict)
    die_at: int = -1
    die_after: bool = False
    calls: list[str] = field(default_factory=list)

    def before(self, name: str) -> None:
        """Note a call."""
        self.calls.append(name)
        if len(self.calls) - 1 == self.die_at and not self.die_after:
            raise Killed
        if self.errors.get(name):
            raise self.errors[name].pop(0)

    def after(self) -> None:
        """Note that the effect of the last call has happened."""
        if len(self.calls) - 1 == self.die_at and self.die_after:
            raise Killed


@dataclass
class FakeHost:
    """The server of a host. Its jobs run until a test ends them with `end`."""

    faults: Faults = field(default_factory=Faults)
    jobs: dict[str, job_pb2.Job] = field(default_factory=dict)
    request_ids: dict[str, str] = field(default_factory=dict)
    starts: list[node_service_pb2.RunJobRequest] = field(default_factory=list)
    traces: list[TraceHeaders] = field(default_factory=list)
    leases: list[float] = field(default_factory=list)
    lease_ends: list[float] = field(default_factory=list)
    answer: node_service_pb2.GetHostResponse = field(default_factory=lambda: HOST)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ends_by_itself: bool = False
    ignores_stops: bool = False
    """Whether only a kill ends the job."""
    grace_periods: list[float | None] = field(default_factory=list)
    may_start: asyncio.Event = field(default_factory=asyncio.Event)
    """Set; a test clears it to let a start take long."""

    def __post_init__(self) -> None:
        self.may_start.set()

    async def describe(self) -> node_service_pb2.GetHostResponse:
        self.faults.before("describe")
        return self.answer

    async def run(self, request: node_service_pb2.RunJobRequest, trace: TraceHeaders) -> job_pb2.Job:
        self.faults.before("run")
        self.traces.append(trace)
        if request.id in self.jobs:
            if self.request_ids[request.id] != request.job.request_id:
                raise OtherAttempt("REQUEST_ID_REUSED", "another attempt has this id")
            return self.jobs[request.id]
        await self.may_start.wait()
        self.starts.append(request)
        self.request_ids[request.id] = request.job.request_id
        self.jobs[request.id] = a_job(attempt=request.attempt)
        self.faults.after()
        return self.jobs[request.id]

    async def find(self, job_id: str, owner: str) -> job_pb2.Job | None:
        self.faults.before("find")
        assert owner == OWNER
        return self.jobs.get(job_id)

    async def wait(self, job_id: str, owner: str) -> job_pb2.Job:
        self.faults.before("wait")
        assert owner == OWNER
        if self.ends_by_itself:
            self.end(job_pb2.JOB_STATUS_COMPLETED)
        while not is_final(self._known(job_id)):
            self.changed.clear()
            await self.changed.wait()
        return self.jobs[job_id]

    async def stop(self, job_id: str, subject: str, grace_period: float | None) -> job_pb2.Job:
        self.faults.before("stop")
        self.grace_periods.append(grace_period)
        if self.ignores_stops and grace_period != 0:
            await asyncio.Event().wait()
        return self._stop(job_id, job_pb2.Termination(stopped_by=subject))

    async def evict(self, job_id: str, message: str) -> job_pb2.Job:
        self.faults.before("evict")
        if self.ignores_stops:
            await asyncio.Event().wait()
        reason = job_pb2.TERMINATION_REASON_EVICTED
        return self._stop(job_id, job_pb2.Termination(reason=reason, message=message))

    async def delete(self, job_id: str, owner: str) -> None:
        self.faults.before("delete")
        assert owner == OWNER
        assert is_final(self.jobs.get(job_id, a_job(job_pb2.JOB_STATUS_STOPPED)))
        self.jobs.pop(job_id, None)
        self.faults.after()

    async def runs(self) -> Sequence[node_service_pb2.Run]:
        self.faults.before("runs")
        return [
            node_service_pb2.Run(id=job.id, request_id=self.request_ids[job.id], owner=job.owner)
            for job in self.jobs.values()
            if not is_final(job)
        ]

    async def renew_lease(self, seconds: float, not_after: float) -> None:
        self.faults.before("renew_host_lease")
        self.leases.append(seconds)
        self.lease_ends.append(not_after)

    def end(
        self, status: job_pb2.JobStatus.ValueType, termination: job_pb2.Termination | None = None
    ) -> job_pb2.Job:
        """End the job."""
        job = a_job(status, self.jobs[ID].attempt)
        job.termination.CopyFrom(termination or job_pb2.Termination())
        self.jobs[ID] = job
        self.changed.set()
        return job

    def _known(self, job_id: str) -> job_pb2.Job:
        if job_id not in self.jobs:
            raise JobUnknown("JOB_NOT_FOUND", "no job has this id")
        return self.jobs[job_id]

    def _stop(self, job_id: str, termination: job_pb2.Termination) -> job_pb2.Job:
        job = self._known(job_id)
        if not is_final(job):
            job = self.end(job_pb2.JOB_STATUS_STOPPED, termination)
        self.faults.after()
        return job


@dataclass
class FakeCluster:
    """The objects of one node. `pod` is the Pod as the cluster has it; None if it is gone."""

    pod: JobPod | None = None
    faults: Faults = field(default_factory=Faults)
    spec: bytes | None = job_service_pb2.CreateJobRequest(
        command="true", retry_on_lost=True
    ).SerializeToString()
    reports: list[job_pb2.Job] = field(default_factory=list)
    node_view: NodeView | None = None
    written: list[JsonObject] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    events: list[PodEvent] = field(default_factory=list)
    on_report: Callable[[], None] = lambda: None
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def time(self) -> datetime:
        return self.now

    async def node(self) -> NodeView | None:
        self.faults.before("node")
        return self.node_view

    async def create_node(self, node: JsonObject) -> None:
        self.faults.before("create_node")
        self.written.append(node)
        self.node_view = NodeView("node-uid-1")

    async def patch_node(self, patch: JsonObject) -> None:
        self.faults.before("patch_node")
        self.written.append(patch)

    async def patch_node_status(self, patch: JsonObject) -> None:
        self.faults.before("patch_node_status")
        self.written.append(patch)

    async def claim_node(self) -> None:
        self.faults.before("claim_node")

    async def renew_lease(self, seconds: int, node_uid: str) -> None:
        self.faults.before("renew_lease")
        assert seconds == 15
        self.leases.append(node_uid)

    async def read_spec(self, pod: JobPod) -> Spec:
        self.faults.before("read_spec")
        assert pod.secret == "secret-1"
        if self.spec is None:
            raise SecretUnreadable("it does not exist")
        return Spec(self.spec, TRACE)

    async def note_shortage(self, pod: JobPod, why: str) -> None:
        self.faults.before("note_shortage")
        assert self.pod
        assert self.pod.uid == pod.uid
        self.pod = replace(self.pod, shortage=why)

    async def report(self, pod: JobPod, job: job_pb2.Job) -> JobPod | None:
        self.faults.before("report")
        if self.pod is None or self.pod.uid != pod.uid:
            return None
        self.reports.append(job)
        self.pod = replace(self.pod, record=job)
        self.on_report()
        self.faults.after()
        return self.pod

    async def pods(self) -> AsyncIterator[PodEvent]:
        for event in self.events:
            yield event
        await asyncio.Event().wait()


@dataclass
class HeldLease:
    """A lease that a test takes away."""

    held_since: float | None = 1.0
