"""AttachJob for asyncio: a `JobStream` that also sends input and signals."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress

import grpc

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_client.aio.connection import Connection
from jobworker_client.aio.stream import JobStream
from jobworker_client.aio.stream_span import traced
from jobworker_client.chunks import Chunk
from jobworker_client.events import EventHandler
from jobworker_client.resumable_attach import ResumableAttach
from jobworker_client.resumable_input import ResumableInput, pieces
from jobworker_client.resumable_stream import ResumableStream

__all__ = ["AttachedStream"]

Request = job_service_pb2.AttachJobRequest
_Call = grpc.aio.StreamStreamCall[Request, job_service_pb2.AttachJobResponse]


class _Input:
    """The input of a job, and the task that reads it from its source."""

    def __init__(self, source: AsyncIterable[bytes], on_progress: Callable[[], None]) -> None:
        self.state = ResumableInput()
        self._source = source
        self._on_progress = on_progress
        self._changed = asyncio.Event()
        self._progress = asyncio.Event()
        self._closed = False
        self._error: Exception | None = None
        self._reading: asyncio.Task[None] | None = None

    def start_call(self) -> None:
        """Prepare for the first or the next call."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        """Read the source in a separate task, which a broken call does not cancel."""
        try:
            async for data in self._source:
                for piece in pieces(data):
                    await self._put(piece)
            self.state.end()
        except Exception as error:  # noqa: BLE001 - raised by `next_request`
            self._error = error
        self._changed.set()

    async def _put(self, piece: bytes) -> None:
        while not self.state.has_room:
            self._progress.clear()
            await self._progress.wait()
        self.state.put(piece)
        self._changed.set()

    async def next_request(self) -> Request:
        """Return the next message, when the server can take it.

        Raises:
            Exception: the source failed, and the server has accepted its pieces.
        """
        while not self.state.can_send:
            if self._error and self.state.all_accepted:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        return self.state.next_request()

    def accepted(self, offset: int) -> None:
        """Process an answer of the server."""
        self.state.accepted(offset)
        self._on_progress()
        self._progress.set()
        self._changed.set()

    async def wait_accepted(self, size: int) -> bool:
        """Wait until the server has accepted so many bytes; return False if the input is closed before."""
        while self.state.accepted_bytes < size and not self._closed:
            self._progress.clear()
            await self._progress.wait()
        return self.state.accepted_bytes >= size

    def close(self) -> None:
        """Stop reading the source."""
        self._closed = True
        self._progress.set()
        if self._reading is not None:
            self._reading.cancel()


class _Controls:
    """Signals and sizes that no call has sent yet."""

    def __init__(self) -> None:
        self._next: asyncio.Queue[Request] = asyncio.Queue()
        self._unsent: Request | None = None

    def put(self, request: Request) -> None:
        self._next.put_nowait(request)

    async def send(self, write: Callable[[Request], Awaitable[None]]) -> None:
        """Send all of them. If the call breaks, the next one repeats the last one."""
        while True:
            self._unsent = self._unsent or await self._next.get()
            await write(self._unsent)
            self._unsent = None


class _AttachCall:
    """One call of AttachJob, with the interface of a call of GetJobsStream."""

    def __init__(
        self,
        call: _Call,
        start: job_attach_pb2.AttachStart,
        source: _Input | None,
        controls: _Controls,
        on_resize: Callable[[job_pb2.TerminalResize], None],
    ) -> None:
        self._call = call
        self._source = source
        self._on_resize = on_resize
        self._turn = asyncio.Lock()
        self._error: Exception | None = None
        self._sending = asyncio.get_running_loop().create_task(self._send(start, controls))

    async def read(self) -> Chunk | object:
        """Return the next message of the output, or the EOF of gRPC. Handle other messages."""
        while True:
            try:
                message = await self._call.read()
            except asyncio.CancelledError:
                if self._error is not None:
                    raise self._error from None
                raise
            if not isinstance(message, job_service_pb2.AttachJobResponse):
                return message
            match message.WhichOneof("kind"):
                case "output":
                    return message.output
                case "input_accepted" if self._source is not None:
                    self._source.accepted(message.input_accepted.offset)
                case "resized":
                    self._on_resize(message.resized)

    def cancel(self) -> None:
        """Cancel the call."""
        self._sending.cancel()
        self._call.cancel()

    async def _send(self, start: job_attach_pb2.AttachStart, controls: _Controls) -> None:
        """Send everything. `read` reports the end of the call, which makes a write fail."""
        try:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await self._write(Request(start=start))
                await asyncio.gather(self._send_input(), controls.send(self._write))
        except Exception as error:  # noqa: BLE001 - raised by `read`
            self._error = error
            self._call.cancel()

    async def _send_input(self) -> None:
        while self._source is not None and not self._source.state.complete:
            await self._write(await self._source.next_request())

    async def _write(self, request: Request) -> None:
        async with self._turn:
            await self._call.write(request)


class _AttachConnection:
    """A connection that opens calls of AttachJob instead of GetJobsStream."""

    def __init__(self, connection: Connection, calls: ResumableAttach, source: _Input | None) -> None:
        self.controls = _Controls()
        self.calls = calls
        self.source = source
        self._connection = connection
        self.wait_ready = connection.wait_ready
        self.to_error = connection.to_error

    def open(self, request: job_service_pb2.GetJobsStreamRequest, timeout: float | None) -> _AttachCall:
        """Start a call with a timeout in seconds."""
        start = self.calls.next_start(request)
        if self.source:
            self.source.start_call()
        stub = self._connection.stub
        call = traced("AttachJob", lambda metadata: stub.AttachJob(timeout=timeout, metadata=metadata))
        return _AttachCall(call, start, self.source, self.controls, self.calls.resized)


class AttachedStream(JobStream):
    """The output of a job, like a `JobStream`, while its input is sent; see `Client.attach`."""

    def __init__(
        self,
        connection: Connection,
        state: ResumableStream,
        start: job_attach_pb2.AttachStart,
        stdin: AsyncIterable[bytes] | None,
        on_event: EventHandler | None,
    ) -> None:
        source = None if stdin is None else _Input(stdin, state.made_progress)
        calls = ResumableAttach(start, source.state if source else None, on_event)
        self._attach = _AttachConnection(connection, calls, source)
        super().__init__(self._attach, state)

    def signal(self, name: str) -> None:
        """Send a signal such as `SIGINT` to the foreground process group of the job.

        It is sent as soon as there is a connection.
        """
        self._attach.controls.put(Request(signal=job_attach_pb2.JobSignal(name=name)))

    def resize(self, columns: int, rows: int, *, redraw: bool = False) -> None:
        """Report the size of the client's terminal, for a job with a terminal and with input.

        With `redraw`, the programs in the terminal draw their screen again, also at the same size.
        """
        self._attach.controls.put(self._attach.calls.resize(columns, rows, redraw=redraw))

    async def wait_accepted(self, size: int) -> bool:
        """Wait until the server has accepted so many bytes of the input, from its start.

        Return False if the stream ends before. Leaving the job discards what the server has not accepted. Let
        another task read the output meanwhile.
        """
        return self._attach.source is not None and await self._attach.source.wait_accepted(size)

    def _cancel_call(self) -> None:
        super()._cancel_call()
        if self._state.ended and self._attach.source:
            self._attach.source.close()
