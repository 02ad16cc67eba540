"""The API process's end of the connection to the supervisor."""

import asyncio
import itertools
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

import msgspec

from jobworkerd.errors import JobWorkerError, ShuttingDown, SupervisorUnavailable
from jobworkerd.model import Job
from jobworkerd.protocol import framing, input_messages, messages
from jobworkerd.protocol.job_feed import JobFeed
from jobworkerd.protocol.job_view import JobView
from jobworkerd.protocol.liveness import TICK_SECONDS, Liveness
from jobworkerd.protocol.metrics_messages import ExportMetrics, GetMetrics, Metrics, Scrape, Scraped
from jobworkerd.protocol.node_messages import RunJob
from jobworkerd.protocol.replies import T, expect
from jobworkerd.protocol.span_messages import SpanEnded, SpansExported
from jobworkerd.protocol.subscriptions import Subscriptions

_NO_ANSWER = "the supervisor does not answer"

_MAX_FINAL = 10_000
"""Maximum number of ids of final jobs in memory, about 1 MB."""


class SupervisorClient(asyncio.Protocol):
    """Sends requests, and receives replies and notices.

    Each method can raise a JobWorkerError of the supervisor, SupervisorUnavailable if the socket is closed or
    the supervisor does not answer (see `watch`), and SupervisorFault.
    """

    def __init__(
        self,
        on_drain: Callable[[], None],
        on_limits_problem: Callable[[str], None],
        metrics: Callable[[], bytes],
    ) -> None:
        self._on_drain = on_drain
        self._draining = False
        self._on_limits_problem = on_limits_problem
        self._metrics = metrics
        self._on_span: Callable[[Job], None] = lambda _: None
        self._loop = asyncio.get_running_loop()
        decoder: msgspec.msgpack.Decoder[messages.ToApi] = msgspec.msgpack.Decoder(messages.ToApi)
        self._decoder = framing.FrameDecoder(decoder)
        self._transport: asyncio.Transport | None = None
        self._numbers = itertools.count()
        self._unsent: list[bytes] = []
        self._replies: dict[int, asyncio.Future[messages.ReplyBody]] = {}
        self._subscriptions = Subscriptions(
            self, partial(expect, expected=messages.OneJob), partial(expect, expected=messages.Watching)
        )
        self._final: set[str] = set()
        self._liveness = Liveness()
        self._back = asyncio.Event()
        self._closed: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def connect(
        cls,
        sock: socket.socket,
        on_drain: Callable[[], None],
        on_limits_problem: Callable[[str], None],
        metrics: Callable[[], bytes] = bytes,
    ) -> "SupervisorClient":
        """Take over the socket. `on_drain` is called at the start of the shutdown.

        `on_limits_problem` is called with the reason why limits can no longer be enforced, and with an empty
        reason when they can be enforced again. `metrics` returns the encoded metrics of this process.
        """
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(on_drain, on_limits_problem, metrics), sock=sock)
        return client

    async def ready(self, on_span: Callable[[Job], None] | None = None) -> None:
        """Report that this process serves, and that it exports spans if `on_span` is given.

        `on_span` is called with each final job whose span this process has to export.
        """
        self._on_span = on_span or self._on_span
        await self._call(messages.Ready(exports_spans=on_span is not None), messages.Done)

    def acknowledge_spans(self, job_ids: Sequence[str]) -> None:
        """Report that the spans of these jobs are exported or lost."""
        self.send_if_connected(SpansExported(tuple(job_ids)))

    async def certificates(self, known: tuple[int, ...]) -> messages.Certificates:
        """Return the server's certificates, without their contents if their version is the known one."""
        return await self._call(messages.GetCertificates(known), messages.Certificates)

    async def metrics(self) -> Metrics:
        """Return the metrics of all processes of the server."""
        return await self._call(GetMetrics(), Metrics)

    async def export_metrics(self) -> Metrics:
        """Return the metrics of the supervisor, which are empty if another process exports them."""
        return await self._call(ExportMetrics(), Metrics)

    async def start_job(self, request: messages.StartJob | RunJob) -> Job:
        """Start a job, and return it when its command runs."""
        return (await self._call(request, messages.OneJob)).job

    async def get_job(self, job_id: str) -> Job:
        """Return a job with its current usage."""
        match await self.request(messages.GetJob(job_id))[1]:
            case messages.FinalJob(job):
                return job
            case body:
                return expect(body, messages.OneJob).job

    def keeps_final(self, job_id: str) -> bool:
        """Return whether the supervisor still has a job that `get_job` has returned as final."""
        return job_id in self._final

    async def list_jobs(self, request: messages.ListJobs) -> messages.JobPage:
        """Return a page of jobs."""
        return await self._call(request, messages.JobPage)

    async def get_jobs(self, job_ids: Sequence[str]) -> messages.JobPage:
        """Return those of at most `messages.MAX_IDS` jobs that exist, without current usage."""
        return await self._call(messages.GetJobs(tuple(job_ids)), messages.JobPage)

    async def stop_job(self, request: messages.StopJob) -> Job:
        """Stop a job, and return the final job."""
        return (await self._call(request, messages.OneJob)).job

    async def update_job(self, request: messages.UpdateJob) -> Job:
        """Change limits of a running job, and return it."""
        return (await self._call(request, messages.OneJob)).job

    async def delete_job(self, request: messages.DeleteJob) -> None:
        """Delete the record and the log of a final job."""
        await self._call(request, messages.Done)

    async def signal_job(self, request: input_messages.SignalJob) -> None:
        """Send a signal to the process group of a job."""
        await self._call(request, messages.Done)

    def new_attachment(self) -> int:
        """Return a number that no other attachment of this process has."""
        return next(self._numbers)

    async def send_input(self, request: input_messages.InputPart) -> int:
        """Attach to the stdin of a job, or send a part or the end of an input.

        Returns the accepted length of the input.
        """
        return (await self._call(request, input_messages.InputAccepted)).offset

    async def resize_input(self, attachment: int, size: tuple[int, int], *, redraw: bool) -> None:
        """Report the size of the terminal of an attachment; with `redraw`, programs draw again."""
        await self._call(input_messages.ResizeInput(attachment, size, redraw), messages.Done)

    def detach_input(self, attachment: int) -> None:
        """End an attachment, if there is one, without waiting for the reply."""
        if self._transport:
            self._send(input_messages.DetachInput(attachment))

    async def wait_job(self, job_id: str, seconds: float) -> Job:
        """Wait until a job has ended and return it; after some seconds return the job as it is.

        All waiters and readers of one job share one subscription.
        """
        if not seconds:
            return await self.get_job(job_id)
        view: JobView | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.follow(job_id) as view:
                await view.ended()
        # A final job in the view counts even if the timeout passed at the same time: the supervisor may have
        # dropped its record since.
        return view.job if view and view.job.status.final else await self.get_job(job_id)

    def follow(self, job_id: str) -> AbstractAsyncContextManager[JobView]:
        """Return a context in which this process follows a job. All subscribers of a job share one view."""
        return self._subscriptions.follow(job_id)

    def watch_jobs(self) -> AbstractAsyncContextManager[JobFeed]:
        """Return a context in which this process gets the changes of all jobs. Watchers share one feed."""
        return self._subscriptions.watch()

    async def watch(self, on_change: Callable[[bool], None]) -> None:
        """Ping the supervisor. Call `on_change` with True or False when it starts or stops to answer.

        Requests have no deadline, because the end of a job can take long. They fail when the supervisor does
        not answer pings.
        """
        while True:
            await self._silence()
            self._back.clear()
            self._fail_all(SupervisorUnavailable(_NO_ANSWER))
            self._subscriptions.end_all()
            on_change(False)  # noqa: FBT003 - a callback's only argument
            await self._back.wait()
            on_change(True)  # noqa: FBT003 - a callback's only argument

    async def _silence(self) -> None:
        """Wait until the supervisor has not answered for some seconds."""
        while self._liveness.answers:
            if self._liveness.tick() and self._transport:
                self._send(messages.Ping())
            await asyncio.sleep(TICK_SECONDS)

    async def wait_closed(self) -> None:
        """Wait until the supervisor has closed the socket."""
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Implement asyncio.Protocol."""
        # uvloop's transports are of no common class with asyncio's.
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol's signature
        """Fail all pending requests."""
        self._transport = None
        self._fail_all(self._unavailable())
        if not self._closed.done():
            self._closed.set_result(None)

    def _unavailable(self) -> JobWorkerError:
        return ShuttingDown() if self._draining else SupervisorUnavailable()

    def _fail_all(self, error: JobWorkerError) -> None:
        for future in self._replies.values():
            if not future.done():
                future.set_exception(error)
        self._replies.clear()
        self._subscriptions.fail(error)

    def data_received(self, data: bytes) -> None:
        """Process replies and notices."""
        if self._liveness.heard():
            self._back.set()
        for message in self._decoder.feed(data):
            match message:
                case messages.Reply(seq, body):
                    self._take_reply(seq, body)
                case messages.Progress() | messages.Changes():
                    self._subscriptions.take_notice(message)
                case messages.LimitsProblem(reason):
                    self._on_limits_problem(reason)
                case messages.Forgotten(job_id):
                    self._final.discard(job_id)
                case Scrape():
                    self._send(Scraped(self._metrics()))
                case SpanEnded(job):
                    self._on_span(job)
                case messages.Drain():
                    self._draining = True
                    self._on_drain()

    def _take_reply(self, seq: int, body: messages.ReplyBody) -> None:
        if isinstance(body, messages.FinalJob):
            # At once: the next frame can be a `Forgotten` notice of this job.
            self._keep_final(body.job.id)
        future = self._replies.pop(seq, None)
        if future is None or future.done():  # the request was cancelled
            self._subscriptions.drop_reply(seq)
            return
        self._subscriptions.take_reply(seq, body)
        future.set_result(body)

    def _keep_final(self, job_id: str) -> None:
        if len(self._final) >= _MAX_FINAL:
            self._final.clear()
        self._final.add(job_id)

    async def _call(self, body: messages.RequestBody, expected: type[T]) -> T:
        return expect(await self.request(body)[1], expected)

    def request(self, body: messages.RequestBody) -> tuple[int, "asyncio.Future[messages.ReplyBody]"]:
        """Send a request, and return its number and its future reply."""
        if self._transport is None:
            raise self._unavailable()
        if not self._liveness.answers:
            raise SupervisorUnavailable(_NO_ANSWER)
        future: asyncio.Future[messages.ReplyBody] = self._loop.create_future()
        seq = self._send(body)
        self._replies[seq] = future
        return seq, future

    def send_if_connected(self, body: messages.RequestBody) -> None:
        """Send a request whose reply does not matter."""
        if self._transport:
            self._send(body)

    def _send(self, body: messages.RequestBody) -> int:
        seq = next(self._numbers)
        if not self._unsent:
            self._loop.call_soon(self._write)
        self._unsent.append(framing.encode(messages.Request(seq, body)))
        return seq

    def _write(self) -> None:
        """Send all requests of a loop iteration with one write, which costs more than a request."""
        unsent, self._unsent = self._unsent, []
        if self._transport:
            self._transport.write(b"".join(unsent))
