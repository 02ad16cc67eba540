"""Relays AttachJob between a client and the node of a job, in both directions.

Each direction holds one message, so a slow side slows down the other one. A broken connection to the node
ends the call: the client knows which input was accepted, and resumes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_gateway import missing_output
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.missing_output import has_log
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError, forgotten
from jobworker_gateway.node_stream import NodeStream
from jobworkerd.config import LogConfig
from jobworkerd.errors import InvalidRequest, JobNotRunning, NodeUnreachable, OffsetOutOfRange
from jobworkerd.rpc_server.attach_requests import read_next
from jobworkerd.rpc_server.convert import STATUSES
from jobworkerd.rpc_server.rpc import Context
from jobworkerd.rpc_server.streaming.paced_writer import PacedWriter

Output = job_service_pb2.GetJobsStreamResponse
Request = job_service_pb2.AttachJobRequest
Response = job_service_pb2.AttachJobResponse

_PATH = "/jobworker.v1.JobService/AttachJob"


class AttachRelay:
    """An AttachJob call with an accepted `start`."""

    def __init__(
        self, start: job_attach_pb2.AttachStart, subject: str, jobs: Jobs, nodes: NodeConnections
    ) -> None:
        self._start = start
        self._subject = subject
        self._jobs = jobs
        self._nodes = nodes
        self._stream: NodeStream | None = None
        self._is_opening = False
        """Whether the node gets `start` now. Later messages follow it."""
        self._opened = asyncio.Event()
        self._missing = ""
        """The reason why the output of a final job cannot be read."""

    @contextlib.asynccontextmanager
    async def accepted(self) -> AsyncIterator["AttachRelay"]:
        """Let the node accept the call, if the job has one, and end the call to the node afterwards.

        Raises:
            ClusterUnavailable: the job has no output yet, and the cluster does not answer.
            JobNotFound: no job has this id.
            NodeError: the node refuses the call.
            NodeUnreachable: the node does not answer.
            OffsetOutOfRange: the job has no output, and the offset is not 0.
        """
        async with contextlib.AsyncExitStack() as self._calls:
            self._live = await self._jobs.get(self._start.id)
            if not has_log(self._live.job):
                self._live = await self._jobs.confirmed(self._live)
            if has_log(self._live.job):
                await self._reach_node()
            elif self._start.offset:
                raise OffsetOutOfRange(self._start.id, self._start.offset, 0)
            yield self

    async def run(self, context: Context, config: LogConfig) -> None:
        """Pass messages on until the result of the job is sent, or the client detaches.

        Raises:
            JobNotFound: the job was deleted.
            JobWorkerError: the client has sent a message that is not accepted.
            NodeError: the node has ended the call.
            NodeUnreachable: the connection to the node broke.
            ReaderStalled: the client read nothing during the stall timeout.
        """
        loop = asyncio.get_running_loop()
        requests = loop.create_task(self._pass_requests(context))
        responses = loop.create_task(self._pass_responses(context, config))
        try:
            await asyncio.wait({requests, responses}, return_when=asyncio.FIRST_COMPLETED)
            if not responses.done() and requests.result():
                await responses
        finally:
            for task in (requests, responses):
                task.cancel()
            await asyncio.gather(requests, responses, return_exceptions=True)
        if not responses.cancelled():
            responses.result()

    async def _pass_requests(self, context: Context) -> bool:
        """Pass the messages of the client on. Return False if it detaches before the job has started."""
        while (message := await read_next(context)) is not None:
            if self._is_opening:
                await (await self._opened_stream()).write(message.SerializeToString())
            elif message.WhichOneof("kind") == "detach":
                return False
            else:
                self._take_early(message)
        await (await self._opened_stream()).done_writing()
        return True

    async def _opened_stream(self) -> NodeStream:
        await self._opened.wait()
        assert self._stream
        return self._stream

    def _take_early(self, message: Request) -> None:
        """Handle a message that arrives before the job has started.

        Raises:
            InvalidRequest: the client must not send input yet.
            JobNotRunning: the job can get no signal yet.
        """
        match message.WhichOneof("kind"):
            case "resize":
                self._start.size.CopyFrom(message.resize)
            case "signal":
                raise JobNotRunning(self._start.id, STATUSES[self._live.job.status].value)
            case "start":
                raise InvalidRequest({"start": "sent twice; send it once, as the first message"})
            case _:
                raise InvalidRequest({"input": "sent before the answer to start; wait for input_accepted"})

    async def _pass_responses(self, context: Context, config: LogConfig) -> None:
        """Pass the messages of the node on until the last one."""
        with PacedWriter(self._start.id, context, config) as writer:
            if not await self._started(writer):
                return
            assert self._stream
            while (data := await self._read(self._stream)) is not None:
                message = Response.FromString(data)
                if message.output.WhichOneof("kind") == "result":
                    await self._write_result(writer, message.output.next_offset)
                    return
                await writer.write(data)

    async def _read(self, stream: NodeStream) -> bytes | None:
        try:
            return await stream.read()
        except NodeError as error:
            if self._live.final:
                raise
            raise forgotten(error, self._live.job.node) from error

    async def _started(self, writer: PacedWriter) -> bool:
        """Wait until the node has the job. Return False after the result of a job without output."""
        if not self._is_opening:
            await self._write_start(writer)
            while not has_log(self._live.job):
                if self._live.final:
                    await _write(writer, Output(result=self._live.job))
                    return False
                self._live = await self._jobs.changed(self._live)
            await self._reach_node()
        if self._missing:
            await self._write_start(writer)
            for message in missing_output.messages(self._live.job, self._start.offset, self._missing):
                await _write(writer, message)
        return not self._missing

    async def _write_start(self, writer: PacedWriter) -> None:
        """Answer a request for the end of output that cannot be read: the stream starts at its begin."""
        if self._start.HasField("tail_bytes"):
            await _write(writer, Output(start_offset=0, offset=0, next_offset=0))
            self._start.ClearField("tail_bytes")
            self._start.offset = 0

    async def _reach_node(self) -> None:
        self._is_opening = True
        try:
            node = self._jobs.node(self._live)
            connection = await self._calls.enter_async_context(self._nodes.open(node))
            self._stream = connection.stream(_PATH, self._subject)
            self._calls.callback(self._stream.cancel)
            await self._stream.begin(Request(start=self._start).SerializeToString())
        except (NodeError, NodeUnreachable) as error:
            self._missing = missing_output.reason(self._live.job, error)
            if self._missing:
                return
            if isinstance(error, NodeUnreachable) or self._live.final:
                raise
            raise forgotten(error, self._live.job.node) from error
        self._opened.set()

    async def _write_result(self, writer: PacedWriter, offset: int) -> None:
        ended = await self._jobs.end_of_attempt(self._live)
        if not ended.final:
            raise NodeUnreachable(self._live.job.node, "the job starts again, maybe elsewhere")
        await _write(writer, Output(result=ended.job, offset=offset, next_offset=offset))


async def _write(writer: PacedWriter, output: Output) -> None:
    await writer.write(Response(output=output).SerializeToString())
