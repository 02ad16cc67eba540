"""A connected `SupervisorClient` and `ApiConnection`, with scripted jobs."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from jobworkerd import errors
from jobworkerd.model import Job, JobSpec
from jobworkerd.protocol import input_messages, messages
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.job_changes import JobChanges
from jobworkerd.protocol.job_view import JobView
from jobworkerd.protocol.metrics_messages import Metrics as ServerMetrics
from jobworkerd.protocol.server import ApiConnection
from jobworkerd.trace_context import TraceContext
from sample_jobs import FINAL, RUNNING


class Inputs:
    """The attachments of a test. Each request is accepted."""

    def __init__(self) -> None:
        self.requests: list[input_messages.InputRequest] = []
        self.closed = False

    async def handle(self, request: input_messages.InputRequest) -> messages.ReplyBody:
        self.requests.append(request)
        if isinstance(request, input_messages.DetachInput):
            return messages.Done()
        return input_messages.InputAccepted(
            getattr(request, "offset", 0) + len(getattr(request, "data", b""))
        )

    def close(self) -> None:
        self.closed = True


class Metrics:
    """The metrics of a test. `collect` waits for `held`."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.exporting: list[object] = []
        self.ended_processes: list[object] = []

    async def collect(self) -> ServerMetrics:
        await self.held.wait()
        return ServerMetrics(b"supervisor", (b"first", None))

    def export(self, process: object) -> ServerMetrics:
        self.exporting.append(process)
        return ServerMetrics(b"exported")

    def ended(self, process: object) -> None:
        self.ended_processes.append(process)


class Spans:
    """The spans of final jobs. It remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.send: Callable[[Job], None] | None = None

    def connected(self, send: Callable[[Job], None], *, exports: bool) -> None:
        self.send = send
        self.calls.append(("connected", exports))

    def disconnected(self, send: Callable[[Job], None]) -> None:
        self.calls.append(("disconnected", send == self.send))

    def exported(self, job_ids: Iterable[str]) -> None:
        self.calls.append(("exported", job_ids))


class Table:
    """The jobs of a test. `get` raises `failure`; `start` waits for `held`."""

    def __init__(self) -> None:
        self.jobs = {"a": RUNNING}
        self.sizes = {"a": 3}
        self.failure: Exception | None = None
        self.held = asyncio.Event()
        self.calls: list[object] = []
        self.changes = JobChanges()
        self.inputs = Inputs()
        self.metrics = Metrics()
        self.spans = Spans()

    async def start(self, spec: JobSpec, trace: TraceContext | None = None) -> Job:
        self.calls.append(("start", spec, *([trace] if trace else [])))
        await self.held.wait()
        return RUNNING

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        self.calls.append(("get", job_id, live_usage))
        if self.failure:
            raise self.failure
        if job_id not in self.jobs:
            raise errors.JobNotFound(job_id)
        return self.jobs[job_id]

    def progress(self, job_id: str) -> messages.Progress:
        job = self.jobs[job_id]
        return messages.Progress(job_id, self.sizes[job_id], job if job.status.final else None)

    def list(self, request: messages.ListJobs) -> messages.JobPage:
        self.calls.append(request)
        return messages.JobPage(tuple(self.jobs.values()), next_before="a")

    def find(self, job_ids: Sequence[str]) -> messages.JobPage:
        found = tuple(self.jobs[job_id] for job_id in job_ids if job_id in self.jobs)
        return messages.JobPage(found, revision=self.changes.log.revision)

    async def stop(self, request: messages.StopJob) -> Job:
        self.calls.append(request)
        return FINAL

    def update(self, request: messages.UpdateJob) -> Job:
        self.calls.append(request)
        return RUNNING

    async def delete(self, request: messages.DeleteJob) -> None:
        self.calls.append(request)
        if self.failure:
            raise self.failure

    def count(self, *call: object) -> int:
        return self.calls.count(call)


@dataclasses.dataclass
class Pair:
    """A client, its connection in the supervisor, and the recorded events."""

    client: SupervisorClient
    connection: ApiConnection
    table: Table
    events: list[str]
    faults: list[tuple[str, BaseException]]
    sent: list[messages.ToApi]

    def grow(self, size: int) -> None:
        self.table.sizes["a"] = size
        self.connection.job_changed("a")

    def notices(self) -> int:
        return sum(isinstance(message, messages.Progress) for message in self.sent)

    def stop_reading(self) -> None:
        """Stop reading, like a supervisor that received SIGSTOP."""
        assert self.connection._transport
        self.connection._transport.pause_reading()

    def resume_reading(self) -> None:
        assert self.connection._transport
        self.connection._transport.resume_reading()

    def end(self) -> None:
        self.table.jobs["a"] = FINAL
        self.grow(9)

    async def flushed(self) -> None:
        """Wait until all frames that were sent before are processed. Frames keep their order."""
        await self.client.ready()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def waiting(view: JobView) -> int:
    return len(view._readers)
