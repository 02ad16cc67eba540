"""Serves AttachJob: streams the output of a job, and passes input and signals to it."""

import asyncio
from collections.abc import Coroutine

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworkerd.api.streaming.streams import LogStream
from jobworkerd.errors import InvalidRequest
from jobworkerd.protocol import input_messages
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.rpc_server import attach_requests, attach_validation, convert
from jobworkerd.rpc_server.attach_validation import AttachRequest
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.wire import field
from jobworkerd.terminal import TerminalResize, resizes_from

MAX_UNANSWERED = 4
"""Parts of the input that a client can send before the server has answered the first of them."""

Response = job_service_pb2.AttachJobResponse


class _Responses:
    """Writes the messages of one call, one at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._turn = asyncio.Lock()

    async def write(self, message: bytes, /) -> None:
        """Write a message of the output."""
        await self._write(field(Response.OUTPUT_FIELD_NUMBER, message))

    async def accepted(self, offset: int) -> None:
        """Write how much of the input has been accepted."""
        accepted = job_attach_pb2.InputAccepted(offset=offset)
        await self._write(Response(input_accepted=accepted).SerializeToString())

    async def resized(self, resize: TerminalResize) -> None:
        """Write a size of the terminal."""
        await self._write(Response(resized=convert.terminal_resize(resize)).SerializeToString())

    async def _write(self, message: bytes) -> None:
        async with self._turn:
            await self._context.write(message)


class AttachCall:
    """An AttachJob call with an accepted request."""

    def __init__(
        self, request: AttachRequest, stream: LogStream, supervisor: SupervisorClient, subject: str
    ) -> None:
        self._request = request
        self._stream = stream
        self._supervisor = supervisor
        self._subject = subject
        self._attachment = supervisor.new_attachment()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_attached = False
        self._unanswered = 0
        """The number of parts of the input that the supervisor has not answered."""
        self._parts: set[asyncio.Task[None]] = set()
        """The tasks for these parts, and for those whose answer is being written."""

    async def run(self, context: Context) -> None:
        """Serve until the result of the job is sent, or the client detaches.

        Raises:
            JobWorkerError: the output or the input failed.
        """
        self._context = context
        self._responses = _Responses(context)
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._spawn(self._write_output())
            if self._request.input_id:
                self._begin(self._attach_message())
            self._spawn(self._read_requests())
            await self._ended
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self._request.input_id:
                self._supervisor.detach_input(self._attachment)

    def _spawn(self, part: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a part of the call. Its error ends the call."""
        task = asyncio.get_running_loop().create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._part_done)
        return task

    def _part_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._ended.done():
            self._ended.set_exception(error)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    async def _write_output(self) -> None:
        """Write the sizes of the terminal so far, then the output."""
        view, request = self._stream.view, self._request.stream
        if terminal := view.job.spec.terminal:
            sizes = resizes_from(terminal, view.resizes, request.offset)
            for size in sizes:
                await self._responses.resized(size)
            self._spawn(self._write_resizes(sizes[-1]))
        await self._stream.write(self._responses)
        self._end()

    async def _write_resizes(self, last: TerminalResize) -> None:
        """Write each size of the terminal after the last written one."""
        while True:
            later = await self._stream.view.resized(last)
            for resize in later:
                await self._responses.resized(resize)
            last = later[-1]

    def _attach_message(self) -> input_messages.AttachInput:
        stream, input_id, take_over, size, redraw = self._request
        return input_messages.AttachInput(self._attachment, stream.job_id, input_id, take_over, size, redraw)

    async def _read_requests(self) -> None:
        """Handle messages until the last one. The input is sent meanwhile, so that signals do not wait."""
        while (message := await attach_requests.read_next(self._context)) is not None:
            match message.WhichOneof("kind"):
                case "input":
                    await self._send_input(attach_validation.input_chunk(message.input, self._attachment))
                case "eof":
                    await self._send_input(attach_validation.input_end(message.eof, self._attachment))
                case "signal":
                    number = attach_validation.job_signal(message.signal)
                    job_id = self._request.stream.job_id
                    await self._supervisor.signal_job(input_messages.SignalJob(job_id, number, self._subject))
                case "resize":
                    size = attach_validation.terminal_size(message.resize)
                    redraw = message.resize.redraw
                    await self._supervisor.resize_input(self._attachment, size, redraw=redraw)
                case "detach":
                    self._end()
                    return
                case "start":
                    raise InvalidRequest({"start": "sent twice; send it once, as the first message"})

    async def _send_input(self, part: input_messages.FeedInput | input_messages.EndInput) -> None:
        if not self._request.input_id:
            raise InvalidRequest({"start.input_id": "empty; set it in a call that sends input"})
        if not self._is_attached:
            raise InvalidRequest({"input": "sent before the answer to start; wait for input_accepted"})
        if self._unanswered == MAX_UNANSWERED:
            why = f"sent while {MAX_UNANSWERED} parts were unanswered; wait for input_accepted"
            raise InvalidRequest({"input": why})
        while len(self._parts) == MAX_UNANSWERED:  # a client can have an answer before its write returns
            await asyncio.wait(self._parts, return_when=asyncio.FIRST_COMPLETED)
        self._begin(part)

    def _begin(self, part: input_messages.InputPart) -> None:
        self._unanswered += 1
        task = self._spawn(self._pass(part))
        self._parts.add(task)
        task.add_done_callback(self._parts.discard)

    async def _pass(self, part: input_messages.InputPart) -> None:
        """Pass a part of the input to the supervisor, and answer it. The supervisor keeps the order."""
        accepted = await self._supervisor.send_input(part)
        self._unanswered -= 1
        self._is_attached = True
        await self._responses.accepted(accepted)
