"""The supervisor's end of the connection to one API process."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import NamedTuple

import msgspec

from jobworkerd.errors import HostExhausted, JobWorkerError, to_wire
from jobworkerd.exhaustion import describe, is_exhaustion
from jobworkerd.model import Job
from jobworkerd.protocol import framing, input_messages, messages
from jobworkerd.protocol.job_changes import ChangeSender
from jobworkerd.protocol.job_table import InputSession, JobTable
from jobworkerd.protocol.login_messages import LoginReply, LoginRequest
from jobworkerd.protocol.metrics_messages import MetricsRequest
from jobworkerd.protocol.metrics_session import MetricsSession, MetricsSource
from jobworkerd.protocol.node_messages import NodeRequest
from jobworkerd.protocol.span_messages import SpanEnded, SpansExported


class ServerParts(NamedTuple):
    """The parts that API processes use besides jobs. `certificates` gets the version that a process has."""

    certificates: Callable[[tuple[int, ...]], messages.Certificates]
    metrics: MetricsSource
    logins: Callable[[LoginRequest], Coroutine[None, None, LoginReply]]
    cluster: Callable[[NodeRequest], Coroutine[None, None, messages.ReplyBody]]


class ApiConnection(asyncio.Protocol):
    """Answers the requests of one API process, and sends it notices of the jobs that it follows.

    Notices are coalesced: the socket gets the newest state of a job when it is writable.
    """

    def __init__(
        self,
        jobs: JobTable,
        inputs: InputSession,
        server: ServerParts,
        *,
        on_ready: Callable[[], None],
        on_fault: Callable[[str, BaseException], None],
    ) -> None:
        self._jobs = jobs
        self._inputs = inputs
        self._certificates = server.certificates
        self._logins = server.logins
        self._cluster = server.cluster
        self._metrics = MetricsSession(server.metrics, self._send)
        self._spans = jobs.spans
        self._on_ready = on_ready
        self._on_fault = on_fault
        self._decoder = framing.FrameDecoder(msgspec.msgpack.Decoder(messages.Request))
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._listing = asyncio.Lock()
        self._final: set[str] = set()
        self._followed: set[str] = set()
        self._changed: dict[str, messages.Progress] = {}
        self._change_sender = ChangeSender(jobs.changes, jobs.get, self._send)
        self._tasks: set[asyncio.Task[None]] = set()
        self._flush_scheduled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol
        """Drop all follows. Jobs that the process started keep running."""
        self._transport = None
        self._followed.clear()
        self._changed.clear()
        self._change_sender.stop()
        self._inputs.close()
        self._metrics.close()
        self._spans.disconnected(self._send_span)

    def data_received(self, data: bytes) -> None:
        """Answer requests with one write, except those that wait for a job.

        Bytes that are not a request end the API process, which only a fault in it can send.
        """
        try:
            replies = [reply for request in self._decoder.feed(data) if (reply := self._answer(request))]
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self._on_fault("frame", error)
            if self._transport:
                self._transport.abort()
            return
        self._write(b"".join(replies))

    def pause_writing(self) -> None:
        """Hold notices back until the process reads again."""
        self._paused = True
        self._change_sender.pause()

    def resume_writing(self) -> None:
        """Send the notices that were held back."""
        self._paused = False
        self._change_sender.resume()
        self._schedule_flush()

    def job_changed(self, job_id: str) -> None:
        """Schedule a notice that the log or the status of a job has changed."""
        if job_id in self._followed:
            # Read now: the final job can be removed before the socket is writable.
            self._changed[job_id] = self._jobs.progress(job_id)
            self._schedule_flush()

    def limits_problem(self, reason: str) -> None:
        """Send the reason why limits cannot be enforced; empty if they can."""
        self._send(messages.LimitsProblem(reason))

    def job_forgotten(self, job_id: str) -> None:
        """Send a notice that a final job was removed, if the process has the job."""
        if job_id in self._final:
            self._final.discard(job_id)
            self._send(messages.Forgotten(job_id))

    def scrape(self) -> "asyncio.Future[bytes] | None":
        """Request the snapshot of the process, if it is connected."""
        return self._metrics.scrape() if self._transport else None

    def drain(self) -> None:
        """Send a notice that the server shuts down."""
        self._send(messages.Drain())

    def close(self) -> None:
        """Send pending notices, then the end of file, which ends the API process.

        The API process closes the socket. If this end closed it first, a pending write of the process would
        fail, and the process would lose unread notices.
        """
        self._flush()
        self._change_sender.finish()
        transport, self._transport = self._transport, None
        if transport:
            transport.write_eof()

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

    def _answer(self, request: messages.Request) -> bytes:
        """Return the frame of the reply; empty if the reply is sent later."""
        match request.body:
            case messages.StartJob(spec, trace):
                self._answer_later(request, _one_job(self._jobs.start(spec, trace)))
            case messages.StopJob():
                self._answer_later(request, _one_job(self._jobs.stop(request.body)))
            case messages.DeleteJob():
                self._answer_later(request, _done(self._jobs.delete(request.body)))
            case _ if isinstance(request.body, input_messages.InputRequest):
                self._answer_later(request, self._inputs.handle(request.body))
            case _ if isinstance(request.body, MetricsRequest):
                self._answer_later(request, self._metrics.handle(request.body))
            case _ if isinstance(request.body, LoginRequest):
                self._answer_later(request, self._logins(request.body))
            case _ if isinstance(request.body, NodeRequest):
                self._answer_later(request, self._cluster(request.body))
            case messages.ListJobs() | messages.GetJobs():
                self._answer_later(request, self._page(request.body))
            case _:
                return self._reply(request)
        return b""

    async def _page(self, request: messages.ListJobs | messages.GetJobs) -> messages.JobPage:
        """Return jobs. One page per loop iteration, so that other requests are not delayed."""
        async with self._listing:
            await asyncio.sleep(0)
            if isinstance(request, messages.GetJobs):
                return self._jobs.find(request.job_ids)
            return self._jobs.list(request)

    def _answer_later(
        self, request: messages.Request, reply: Coroutine[None, None, messages.ReplyBody]
    ) -> None:
        async def answer() -> None:
            try:
                frame = framing.encode(messages.Reply(request.seq, await reply))
            except Exception as error:  # noqa: BLE001 - a bug in one request must not end the supervisor
                frame = self._encoded_refusal(request, error)
            self._write(frame)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _encoded_refusal(self, request: messages.Request, error: Exception) -> bytes:
        return framing.encode(messages.Reply(request.seq, self._refusal(request, error)))

    def _refusal(self, request: messages.Request, error: Exception) -> messages.ReplyBody:
        if is_exhaustion(error):
            error = HostExhausted(describe(error))
        if isinstance(error, JobWorkerError):
            return messages.Failure(*to_wire(error))
        self._on_fault(type(request.body).__name__, error)
        return messages.Fault(repr(error))

    def _reply(self, request: messages.Request) -> bytes:
        try:
            return framing.encode(messages.Reply(request.seq, self._body(request.body)))
        except Exception as error:  # noqa: BLE001 - as above
            return self._encoded_refusal(request, error)

    def _body(self, body: messages.RequestBody) -> messages.ReplyBody:
        match body:
            case messages.GetJob(job_id):
                return self._get(job_id)
            case messages.UpdateJob():
                return messages.OneJob(self._jobs.update(body))
            case messages.Follow(job_id):
                return messages.OneJob(self._follow(job_id))
            case messages.WatchJobs():
                return self._change_sender.start()
            case messages.UnwatchJobs():
                self._change_sender.stop()
            case messages.GetCertificates(known):
                return self._certificates(known)
            case messages.Unfollow(job_id):
                self._followed.discard(job_id)
            case messages.Ready(exports_spans):
                self._on_ready()
                self._spans.connected(self._send_span, exports=exports_spans)
            case SpansExported(job_ids):
                self._spans.exported(job_ids)
        return messages.Done()

    def _send_span(self, job: Job) -> None:
        self._send(SpanEnded(job))

    def _get(self, job_id: str) -> messages.OneJob | messages.FinalJob:
        job = self._jobs.get(job_id, live_usage=True)
        if not job.status.final:
            return messages.OneJob(job)
        self._final.add(job_id)
        return messages.FinalJob(job)

    def _follow(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if not job.status.final:
            self._followed.add(job_id)
        return job

    def _send(self, message: messages.ToApi) -> None:
        self._write(framing.encode(message))

    def _write(self, frames: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(frames)


async def _done(change: Coroutine[None, None, None]) -> messages.Done:
    await change
    return messages.Done()


async def _one_job(job: Coroutine[None, None, Job]) -> messages.OneJob:
    return messages.OneJob(await job)
