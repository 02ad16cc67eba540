"""Relays the output of a job from its node to a client (GetJobsStream).

The offsets of the node are those of the client, because a job has the same id everywhere. If the connection
to the node breaks, the relay continues after the last message. It reads a message from the node when the
client has taken the one before, so a slow client never fills the memory of the gateway.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster.records import is_final
from jobworker_gateway import missing_output
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.losses import Losses
from jobworker_gateway.missing_output import has_log
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError, forgotten
from jobworker_gateway.node_stream import NodeStream
from jobworker_gateway.outage import Outage
from jobworkerd.config import LogConfig
from jobworkerd.errors import NodeUnreachable, OffsetOutOfRange
from jobworkerd.rpc_server.streaming.paced_writer import MessageWriter, PacedWriter

Request = job_service_pb2.GetJobsStreamRequest
Response = job_service_pb2.GetJobsStreamResponse

_PATH = "/jobworker.v1.JobService/GetJobsStream"
_SEEKS: Final = ("tail_lines", "tail_bytes", "since")

_LIVE_OUTAGE_SECONDS = 40.0
"""A node that is gone loses its lease meanwhile, and the job is LOST or starts again."""

_FINAL_OUTAGE_SECONDS = 5.0
"""Enough for a restart of the node's server."""


_RECORD_SECONDS = 2.0
"""Time between the end of a job on its node and its record in the archive."""


class Relays:
    """Opens relays."""

    def __init__(
        self, jobs: Jobs, nodes: NodeConnections, config: LogConfig, clock: Callable[[], float]
    ) -> None:
        self.jobs = jobs
        self.nodes = nodes
        self.config = config
        self.clock = clock
        self._losses = Losses(jobs.engine.jobs)

    @contextlib.asynccontextmanager
    async def open(self, request: Request, subject: str) -> AsyncIterator["Relay"]:
        """Accept a validated request of a user.

        Raises:
            ClusterUnavailable: see `Jobs.get`, and `Jobs.confirmed` if the job has no output yet.
            JobNotFound: no job has this id.
            NodeError: the node refuses the request.
            OffsetOutOfRange: the job has no output, and the offset is not 0.
        """
        async with contextlib.AsyncExitStack() as calls:
            relay = Relay(request, subject, await self.jobs.get(request.id), self, calls)
            with self._losses.watching(request.id, relay.lose):
                await relay.accept()
                yield relay


class Relay:
    """A GetJobsStream call. `_request` describes the output that the client still lacks."""

    def __init__(
        self,
        request: Request,
        subject: str,
        live: LiveJob,
        relays: Relays,
        calls: contextlib.AsyncExitStack,
    ) -> None:
        """`calls` ends the call to the node."""
        self._request = Request()
        self._request.CopyFrom(request)
        self._follow = request.follow if request.HasField("follow") else True
        self._subject = subject
        self._live = live
        self._attempt = live.job.attempt
        self._is_lost = False
        self._relays = relays
        self._jobs = relays.jobs
        self._calls = calls
        self._outage = Outage(relays.clock)
        self._stream: NodeStream | None = None
        self._is_silent = True
        """Whether the stream of the node has sent nothing yet."""
        self._missing = ""
        """The reason why the rest of the output cannot be read."""
        self._result: Response | None = None

    async def accept(self) -> None:
        """Let the node accept the request. A job without output has no other position than 0."""
        needs_output = self._request.offset or not self._follow
        if needs_output and not has_log(self._live.job):
            self._live = await self._jobs.confirmed(self._live)
            self._attempt = self._live.job.attempt
        if has_log(self._live.job):
            await self._reach_node()
        elif self._request.offset:
            raise OffsetOutOfRange(self._request.id, self._request.offset, 0)

    def lose(self) -> None:
        """End a stream that follows the job: the cluster has lost the job, which may run on at its node."""
        is_first, self._is_lost = not self._is_lost, True
        if is_first and self._stream:
            self._stream.interrupt()

    async def write(self, context: MessageWriter) -> None:
        """Write the messages, until the result or an error.

        Raises:
            JobNotFound: the job was deleted.
            NodeError: the node has ended the stream.
            NodeUnreachable: the node does not answer for too long.
            OffsetOutOfRange: the job has started again, with an empty log.
            ReaderStalled: the client read nothing during the stall timeout.
        """
        with PacedWriter(self._request.id, context, self._relays.config) as writer:
            if not has_log(self._live.job):
                await self._write_start(writer)
            while self._result is None:
                if self._missing:
                    await self._write_missing(writer)
                elif self._stream is None:
                    await self._find_node()
                else:
                    await self._pass_on(writer, self._stream)
            await writer.write(self._result.SerializeToString())

    async def _write_start(self, writer: PacedWriter) -> None:
        """Answer a request for the end of a log that is empty: the stream starts at its begin."""
        if any(self._request.HasField(name) for name in _SEEKS):
            start = Response(start_offset=0, offset=0, next_offset=0)
            await writer.write(start.SerializeToString())
            self._advance(start)

    async def _find_node(self) -> None:
        """Open the stream of the node, or wait until the job has one, or end the output."""
        live = self._live = await self._jobs.get(self._request.id)
        self._check_attempt(live.job)
        if not has_log(live.job):
            if live.final or not self._follow:
                self._end(self._jobs.shown(live))
            else:
                await self._jobs.changed(live)
        elif not await self._reach_node():
            await self._pause()

    async def _pause(self) -> None:
        """Wait before the node is called again, unless it is known that it cannot answer.

        Raises:
            NodeError, NodeUnreachable: see `Outage.wait`.
        """
        live = self._live
        if self._missing:
            return
        if live.job.status == job_pb2.JOB_STATUS_LOST:
            self._missing = missing_output.lost(live.job)
            return
        try:
            await self._outage.wait(_FINAL_OUTAGE_SECONDS if live.final else _LIVE_OUTAGE_SECONDS)
        except NodeUnreachable:
            # An agent creates a Node that was deleted again within this time.
            if not (live.final and self._jobs.has_left(live.job.node)):
                raise
            self._missing = missing_output.has_left(live.job)

    async def _reach_node(self) -> bool:
        """Open the stream of the node; return False if the node does not answer now.

        Of a lost job, it reads what the node has now. The cluster has given up its end.

        Raises:
            NodeError: the node refuses the request.
        """
        request = Request()
        request.CopyFrom(self._request)
        if is_lost := self._live.job.status == job_pb2.JOB_STATUS_LOST:
            request.follow = False
        try:
            node = self._jobs.node(self._live)
            connection = await self._calls.enter_async_context(self._relays.nodes.open(node))
            stream = connection.stream(_PATH, self._subject)
            self._calls.callback(stream.cancel)
            await stream.request(request.SerializeToString())
        except (NodeError, NodeUnreachable) as error:
            await self._fail(error)
            return False
        self._stream, self._is_silent = stream, True
        if self._is_lost and not is_lost:
            stream.interrupt()
        return True

    async def _pass_on(self, writer: PacedWriter, stream: NodeStream) -> None:
        """Write the next message of the node."""
        try:
            data = await self._read(stream)
        except (NodeError, NodeUnreachable) as error:
            await self._fail(error)
            if self._is_silent:
                await self._pause()
            return
        self._is_silent = False
        self._outage.end()
        message = Response.FromString(data)
        if message.WhichOneof("kind") == "result":
            await self._finish(message)
        else:
            await writer.write(data)
            self._advance(message)

    async def _read(self, stream: NodeStream) -> bytes:
        if (data := await stream.read()) is None:
            raise NodeUnreachable(self._live.job.node, "it ended the stream without a result")
        return data

    async def _fail(self, error: NodeError | NodeUnreachable) -> None:
        """End the call to the node after an error.

        The node ends a stream that is too slow for it (READER_STALLED), which the client can be, too. Only
        the gateway decides about its client.

        Raises:
            NodeError: the error is one for the client.
        """
        self._stream = None
        await self._calls.aclose()
        is_forgotten = isinstance(error, NodeError) and error.status.code is grpc.StatusCode.NOT_FOUND
        if is_forgotten and self._live.final:
            self._missing = missing_output.removed(self._live.job)
        elif isinstance(error, NodeError) and not (error.temporary or is_forgotten):
            raise error
        # The cluster has the job, whatever its node says.
        self._outage.add(forgotten(error, self._live.job.node))

    def _advance(self, message: Response) -> None:
        self._request.offset = message.next_offset
        for name in _SEEKS:
            self._request.ClearField(name)

    def _check_attempt(self, job: job_pb2.Job) -> None:
        """Note the attempt of a job.

        Raises:
            OffsetOutOfRange: the job has started again, and the client has output of an earlier attempt.
        """
        if job.attempt > self._attempt and self._request.offset:
            raise OffsetOutOfRange(job.id, self._request.offset, 0)
        self._attempt = job.attempt

    async def _finish(self, last: Response) -> None:
        """End the output after the last message of the node.

        The record of the gateway counts: it follows as soon as the cluster has it. With `retry_on_lost`, the
        node can have ended an attempt only.
        """
        self._stream = None
        await self._calls.aclose()
        live = self._live
        if self._follow:
            live = await self._jobs.end_of_attempt(live)
            if not live.final:
                return
        self._request.offset = last.next_offset
        self._end(live.job if live.final else await self._current(last.result))

    async def _current(self, job: job_pb2.Job) -> job_pb2.Job:
        """Return a job without waiting for its end, for the state that its node has sent."""
        live = await self._jobs.get(job.id)
        if live.final or not is_final(job):
            return live.job if live.final else job
        return await self._jobs.ended_within(job.id, _RECORD_SECONDS) or live.job

    async def _write_missing(self, writer: PacedWriter) -> None:
        """Write which output is missing, and end the output."""
        await self._write_start(writer)
        *missing, self._result = missing_output.messages(self._live.job, self._request.offset, self._missing)
        for message in missing:
            await writer.write(message.SerializeToString())

    def _end(self, job: job_pb2.Job) -> None:
        offset = self._request.offset
        self._result = Response(result=job, offset=offset, next_offset=offset)
