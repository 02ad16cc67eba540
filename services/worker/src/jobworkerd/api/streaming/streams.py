"""Streams logs: existing output, then new output (docs/architecture.md, "Logs")."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from jobworker.v1 import job_service_pb2
from jobworkerd.api.metrics.api_metrics import ReaderCounts
from jobworkerd.api.streaming.encoding import Encoded
from jobworkerd.api.streaming.log_reader import LogReader
from jobworkerd.api.streaming.message_cache import MessageCache, Sources
from jobworkerd.config import LogConfig
from jobworkerd.errors import JobNotFound, OffsetOutOfRange
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file
from jobworkerd.logs.seek import last_bytes, last_lines, since
from jobworkerd.protocol.client import SupervisorClient
from jobworkerd.protocol.job_view import JobView
from jobworkerd.rpc_server import convert
from jobworkerd.rpc_server.requests import StreamRequest
from jobworkerd.rpc_server.streaming.paced_writer import MessageWriter, PacedWriter
from jobworkerd.rpc_server.streaming.rate_limiter import RateLimiter

_CACHE_BYTES = 16 * 1024 * 1024
"""64 of the largest messages with the default settings. Readers within this distance share messages."""


class Streams:
    """Streams the logs in the directories of the jobs. Streams share encoded messages."""

    def __init__(
        self, supervisor: SupervisorClient, jobs_dir: Path, config: LogConfig, readers: ReaderCounts
    ) -> None:
        self.supervisor = supervisor
        self.config = config
        self.readers = readers
        self.cache = MessageCache(_CACHE_BYTES)
        self.rate_limiter = RateLimiter()
        self._jobs_dir = jobs_dir

    @contextlib.asynccontextmanager
    async def open(self, request: StreamRequest) -> AsyncIterator["LogStream"]:
        """Accept a request, and follow its job until the context is left.

        Raises:
            JobNotFound: no job has this id.
            OffsetOutOfRange: the offset is after the end of the log.
        """
        async with self.supervisor.follow(request.job_id) as view:
            if request.offset > view.log_size:
                raise OffsetOutOfRange(request.job_id, request.offset, view.log_size)
            directory = self._jobs_dir / request.job_id
            # A job without output can have no log yet, or it never ran and will have none.
            if view.log_size and not data_file(directory).exists():
                raise JobNotFound(request.job_id)
            yield LogStream(request, view, directory, self)


class LogStream:
    """A GetJobsStream call with an accepted request."""

    def __init__(self, request: StreamRequest, view: JobView, directory: Path, streams: Streams) -> None:
        self._request = request
        self.view = view
        self._directory = directory
        self._streams = streams

    async def write(self, context: MessageWriter) -> None:
        """Write the messages.

        Raises:
            JobNotFound: the job was dropped.
            ReaderStalled: the client read nothing during the stall timeout.
        """
        request, view = self._request, self.view
        paced = PacedWriter(request.job_id, context, self._streams.config)
        with self._streams.readers.reading(), paced as writer:
            offset = await self._write_output(writer)
            job = (
                view.job if view.job.status.final else await self._streams.supervisor.get_job(request.job_id)
            )
            result = convert.job_to_proto(job)
            message = job_service_pb2.GetJobsStreamResponse(result=result, offset=offset, next_offset=offset)
            await writer.write(message.SerializeToString())

    async def _write_output(self, writer: PacedWriter) -> int:
        """Write output to the end of the log, without `follow` to its current end; return that offset."""
        request, view = self._request, self.view
        end = view.log_size
        try:
            offset = request.offset
            if request.needs_seek:
                # In a thread, because a seek may read much of the log.
                offset = await asyncio.to_thread(_start_offset, request, self._directory, end)
                # A client that is cut off before its first chunk needs the start offset to resume.
                begin = job_service_pb2.GetJobsStreamResponse(
                    start_offset=offset, offset=offset, next_offset=offset
                )
                await writer.write(begin.SerializeToString())
            with self._reader(offset) as reader:
                while (end := await self._wait_for_output(reader.offset, end)) > reader.offset:
                    message = await _next_message(reader, end, writer.message_bytes)
                    if message is not None:
                        await writer.write(message.data)
                return reader.offset
        except FileNotFoundError:
            raise JobNotFound(request.job_id) from None

    def _reader(self, offset: int) -> LogReader:
        request = self._request
        sources = Sources(request.source, request.mixed_sources)
        return LogReader(self.view.job.run, self._directory, self._streams.cache, offset, sources)

    async def _wait_for_output(self, offset: int, end: int) -> int:
        """Wait for output and for a turn, and return the end of the output.

        The result is `offset` if the stream is complete. `end` is the fixed end of a stream without `follow`.
        """
        if self._request.follow:
            await self.view.changed(offset)
            end = self.view.log_size
        if end > offset:
            await self._streams.rate_limiter.wait()
        return self.view.log_size if self._request.follow else end


async def _next_message(reader: LogReader, end: int, size: int) -> Encoded | None:
    """Return the next message before an offset, or None if the output is of the other source."""
    while True:
        message = reader.read(end, size)
        if message is not None or reader.offset >= end:
            return message
        await asyncio.sleep(0)  # lets other tasks run, as a write does


def _start_offset(request: StreamRequest, directory: Path, end: int) -> int:
    """Return the latest start position of a request in a log with `end` bytes."""
    if not end:
        return request.offset
    offsets = [request.offset]
    with open_files(directory) as files:
        if request.tail_lines is not None:
            offsets.append(last_lines(files, request.tail_lines, end, request.source))
        if request.tail_bytes is not None:
            offsets.append(last_bytes(files, request.tail_bytes, end, request.source))
        if request.since_ns is not None:
            offsets.append(since(files, request.since_ns, end))
    return max(offsets)
