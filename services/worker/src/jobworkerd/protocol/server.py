"""The supervisor's end of the socket to one API process."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from jobworkerd.errors import HostExhausted, JobWorkerError, to_wire
from jobworkerd.exhaustion import describe, is_exhaustion
from jobworkerd.model import Job, JobSpec
from jobworkerd.protocol import framing, messages


class JobTable(Protocol):
    """What the supervisor does for an API process.

    Every method may raise a JobWorkerError, and an OSError where the host is exhausted.
    """

    async def start(self, spec: JobSpec) -> Job:
        """Starts a job and returns it once its command runs."""

    def get(self, job_id: str, *, live_usage: bool = False) -> Job:
        """Returns a job as it is."""

    def progress(self, job_id: str) -> tuple[int, Job | None]:
        """Returns the size of a job's log and, once it is final, the job."""

    def list(self, request: messages.ListJobs) -> messages.JobPage:
        """Returns a page of jobs."""

    async def stop(self, request: messages.StopJob) -> Job:
        """Ends a job and returns the final one."""

    def update(self, request: messages.UpdateJob) -> Job:
        """Changes limits of a running job and returns it."""


class ApiConnection(asyncio.Protocol):
    """Answers one API process, and tells it of the jobs that it follows.

    Notices are coalesced: what is told of a job is its newest state at the time when the socket takes
    the notice, however often it changed before.
    """

    def __init__(
        self,
        jobs: JobTable,
        certificates: Callable[[tuple[int, ...]], messages.Certificates],
        *,
        on_ready: Callable[[], None],
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._jobs = jobs
        self._certificates = certificates
        self._on_ready = on_ready
        self._on_fault = on_fault
        self._decoder = framing.FrameDecoder(msgspec.msgpack.Decoder(messages.Request))
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._followed: set[str] = set()
        self._changed: dict[str, messages.Progress] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport, as asyncio.Protocol has it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol's signature
        """Forgets what the process followed; the jobs that it started go on."""
        self._transport = None
        self._followed.clear()
        self._changed.clear()

    def data_received(self, data: bytes) -> None:
        """Takes requests."""
        for request in self._decoder.feed(data):
            task = asyncio.get_running_loop().create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def pause_writing(self) -> None:
        """Holds notices back while the process does not read."""
        self._paused = True

    def resume_writing(self) -> None:
        """Sends the notices that were held back."""
        self._paused = False
        self._schedule_flush()

    def job_changed(self, job_id: str) -> None:
        """Says that a job has more output or another status."""
        if job_id in self._followed:
            # Taken now: by the time that the socket takes the notice the final job may be forgotten.
            self._changed[job_id] = messages.Progress(job_id, *self._jobs.progress(job_id))
            self._schedule_flush()

    def limits_problem(self, reason: str) -> None:
        """Says why limits are not enforced, or that they are again."""
        self._send(messages.LimitsProblem(reason))

    def drain(self) -> None:
        """Says that the server shuts down."""
        self._send(messages.Drain())

    def close(self) -> None:
        """Sends what is still to send, then closes the socket, which ends the API process."""
        self._flush()
        if self._transport:
            self._transport.close()

    def _schedule_flush(self) -> None:
        if self._changed and not self._paused and not self._flush_scheduled:
            self._flush_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        changed, self._changed = self._changed, {}
        for progress in changed.values():
            if progress.job_id in self._followed:
                self._send_progress(progress)

    def _send_progress(self, progress: messages.Progress) -> None:
        if progress.job:
            self._followed.discard(progress.job_id)
        self._send(progress)

    async def _answer(self, request: messages.Request) -> None:
        try:
            body = await self._reply(request.body)
        except Exception as error:  # noqa: BLE001 - a bug in one request must not end the process of all jobs
            body = self._refusal(request, error)
        self._send(messages.Reply(request.seq, body))

    def _refusal(self, request: messages.Request, error: Exception) -> messages.ReplyBody:
        if is_exhaustion(error):
            error = HostExhausted(describe(error))
        if isinstance(error, JobWorkerError):
            return messages.Failure(*to_wire(error))
        self._on_fault(type(request.body).__name__, error)
        return messages.Fault(repr(error))

    async def _reply(self, body: messages.RequestBody) -> messages.ReplyBody:
        match body:
            case messages.ListJobs():
                return self._jobs.list(body)
            case messages.GetCertificates(known):
                return self._certificates(known)
            case messages.Unfollow(job_id):
                self._followed.discard(job_id)
            case messages.Ready():
                self._on_ready()
            case messages.Ping():
                pass
            case _:
                return messages.OneJob(await self._job(body))
        return messages.Done()

    async def _job(self, body: messages.RequestForJob) -> Job:
        match body:
            case messages.StartJob(spec):
                return await self._jobs.start(spec)
            case messages.StopJob():
                return await self._jobs.stop(body)
            case messages.UpdateJob():
                return self._jobs.update(body)
            case messages.GetJob(job_id):
                return self._jobs.get(job_id, live_usage=True)
            case messages.Follow(job_id):
                return self._follow(job_id)

    def _follow(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if not job.status.final:
            self._followed.add(job_id)
        return job

    def _send(self, message: messages.ToApi) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(framing.encode(message))
