"""A job's output on its way to the terminal, and what is said of it there."""

from collections.abc import Awaitable, Callable

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cli.output import say
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_client import Chunk, Client, JobStream, JobWorkerError, Reconnecting, TruncatedRange

__all__ = ["Talk", "Write", "follow", "open_stream", "stream_command"]

Write = Callable[[Chunk], Awaitable[None]]


class Talk:
    """Says on stderr what the reader of a stream should know."""

    def __init__(self, *, result_only: bool = False) -> None:
        self._result_only = result_only
        self._told_of_stall = False

    def __call__(self, notice: TruncatedRange | Reconnecting) -> None:
        """Says what happened."""
        if isinstance(notice, TruncatedRange):
            count = notice.to_offset - notice.from_offset
            say(f"jobworker: {count} bytes of output from byte {notice.from_offset} on: {notice.reason}")
        elif notice.error.reason != "READER_STALLED":
            place = None if self._result_only else notice.offset
            then = "trying again" if place is None else f"going on from byte {place}"
            say(f"jobworker: {notice.error}; {then}")
        elif not self._told_of_stall:
            # Under a pager that waits for its user it is so every few seconds: once is enough.
            self._told_of_stall = True
            say("jobworker: the reader of this output is slow; the stream is resumed whenever it is ready")


def open_stream(client: Client, request: job_service_pb2.GetJobsStreamRequest) -> JobStream:
    """Returns the output that the request asks for, as `Sink` takes it; stderr says what happens to it."""
    request.mixed_sources = True
    return client.stream_from(request, on_event=Talk())


async def follow(stream: JobStream, write: Write) -> job_pb2.Job:
    """Hands on all output and returns the job as the stream's last message has it.

    Raises:
        CliError: the server refused, or was away for too long.
        OSError: `write` failed.
    """
    try:
        async with stream:
            async for chunk in stream:
                await write(chunk)
    except JobWorkerError as error:
        raise to_cli_error(error, hint=_way_to_resume(error, stream.request)) from error
    return stream.result


def stream_command(request: job_service_pb2.GetJobsStreamRequest) -> str:
    """Returns the command line that shows the output that the request asks for."""
    words = ["jobworker", "stream"]
    if request.offset:
        words += ["--offset", str(request.offset)]
    if request.HasField("tail_lines"):
        words += ["--tail", str(request.tail_lines)]
    if request.HasField("since"):
        words += ["--since", request.since.ToJsonString()]
    if request.source == job_service_pb2.OUTPUT_SOURCE_STDOUT:
        words.append("--stdout-only")
    if request.source == job_service_pb2.OUTPUT_SOURCE_STDERR:
        words.append("--stderr-only")
    return " ".join([*words, request.id])


def _way_to_resume(error: JobWorkerError, request: job_service_pb2.GetJobsStreamRequest) -> str:
    if error.retryable and request.offset:
        return f"`{stream_command(request)}` goes on from there"
    return ""
