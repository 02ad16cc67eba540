"""Streams a log: a cursor that reads what is there and waits for more (docs/architecture.md, "Logs")."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import structlog

from jobworker.v1 import job_service_pb2
from jobworkerd.api import convert
from jobworkerd.config import LogConfig
from jobworkerd.errors import JobNotFound, OffsetOutOfRange, ReaderStalled
from jobworkerd.logs.cursor import Chunk, Gap, LogCursor, open_cursor
from jobworkerd.model import OutputSource
from jobworkerd.protocol.client import JobView, SupervisorClient

Context = grpc.aio.ServicerContext[Any, Any]
Request = job_service_pb2.GetJobsStreamRequest
Response = job_service_pb2.GetJobsStreamResponse

_SOURCES = {
    OutputSource.STDOUT: job_service_pb2.OUTPUT_SOURCE_STDOUT,
    OutputSource.STDERR: job_service_pb2.OUTPUT_SOURCE_STDERR,
}


async def stream_log(
    request: Request, context: Context, *, supervisor: SupervisorClient, jobs_dir: Path, config: LogConfig
) -> None:
    """Writes the messages of one GetJobsStream call.

    Raises:
        JobNotFound: there is no such job.
        OffsetOutOfRange: it has a shorter log.
        ReaderStalled: the client took nothing for `config.stall_timeout`.
    """
    follow = request.follow if request.HasField("follow") else True
    async with supervisor.follow(request.id) as view:
        if request.offset > view.log_size:
            raise OffsetOutOfRange(request.id, request.offset, view.log_size)
        reader = _Reader(request.id, context, config)
        if request.result_only:
            offset = request.offset
            if follow:
                await _final(view)
        else:
            offset = await _output(request, view, reader, jobs_dir, follow=follow)
        job = view.job if view.job.status.final else await supervisor.get_job(request.id)
        await reader.write(Response(offset=offset, result=convert.job_to_proto(job)), offset)


async def _output(request: Request, view: JobView, reader: "_Reader", jobs_dir: Path, *, follow: bool) -> int:
    """Writes output until there is no more of it, or no more for now; returns where that is."""
    try:
        with open_cursor(jobs_dir / request.id, request.offset) as cursor:
            await reader.send(cursor, view.log_size)
            while follow and not (view.job.status.final and cursor.offset == view.log_size):
                await view.changed(cursor.offset)
                await reader.send(cursor, view.log_size)
            return cursor.offset
    except FileNotFoundError:
        raise JobNotFound(request.id) from None


async def _final(view: JobView) -> None:
    while not view.job.status.final:
        await view.changed(view.log_size)


class _Reader:
    """The client at the other end of one call."""

    def __init__(self, job_id: str, context: Context, config: LogConfig) -> None:
        self._job_id = job_id
        self._context = context
        self._config = config
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def send(self, cursor: LogCursor, end: int) -> None:
        """Writes what stands between the cursor and an offset."""
        while cursor.offset < end:
            piece = cursor.read(end, self._config.chunk_bytes)
            await self.write(_message(piece), piece.offset)

    async def write(self, message: Response, offset: int) -> None:
        """Writes one message; `offset` is where the client is to go on if it does not take it."""
        try:
            async with asyncio.timeout(self._config.stall_timeout):
                await self._context.write(message)
        except TimeoutError:
            # At once: the call's own line comes only when the client reads again, or is gone.
            self._log.warning("reader stalled", job_id=self._job_id, offset=offset)
            raise ReaderStalled(self._job_id, offset, self._config.stall_timeout) from None


def _message(piece: Chunk | Gap) -> Response:
    if isinstance(piece, Gap):
        truncated = job_service_pb2.TruncatedRange(
            from_offset=piece.offset, to_offset=piece.end, reason=piece.reason
        )
        return Response(offset=piece.offset, truncated=truncated)
    return Response(
        payload=piece.data,
        offset=piece.offset,
        source=_SOURCES[piece.source],
        time=convert.timestamp(piece.time_ns),
    )
