"""Copy a stream to the terminal, with messages about its events on stderr."""

from collections.abc import AsyncIterable, Awaitable, Callable

from jobworker.v1 import job_attach_pb2, job_output_pb2, job_pb2, job_service_pb2
from jobworker_cli.output import print_message
from jobworker_cli.render.error_messages import fault_of, to_cli_error
from jobworker_client import (
    AttachedStream,
    Chunk,
    Client,
    JobStream,
    JobWorkerError,
    OffsetOutOfRange,
    ReaderStalled,
    Reconnecting,
    StreamEvent,
    TerminalResized,
    TruncatedRange,
)

__all__ = [
    "StderrNotifier",
    "Write",
    "copy_stream",
    "open_attached",
    "open_stream",
    "start_offset",
    "stream_command",
]

Write = Callable[[Chunk], Awaitable[None]]


class StderrNotifier:
    """Prints the events of a stream to stderr."""

    def __init__(self) -> None:
        self._stall_printed = False

    def __call__(self, event: StreamEvent) -> None:
        """Print one event, except sizes of the job's terminal."""
        if isinstance(event, TerminalResized):
            return
        if isinstance(event, TruncatedRange):
            count = event.to_offset - event.from_offset
            print_message(
                f"jobworker: {count} bytes of output from byte {event.from_offset} on are missing: "
                f"{event.reason}"
            )
        elif not isinstance(event.error, ReaderStalled):
            # The remedy is what the client does next.
            print_message(f"jobworker: {fault_of(event.error)}; {_next_step(event)}")
        elif not self._stall_printed:
            # A pager that waits for its user stalls the stream every few seconds.
            self._stall_printed = True
            print_message(
                "jobworker: the reader of this output is slow; the stream resumes when the reader continues"
            )


def open_stream(client: Client, request: job_service_pb2.GetJobsStreamRequest) -> JobStream:
    """Return the stream for a request, with whole messages for `OutputWriter` and events on stderr."""
    request.mixed_sources = True
    return client.stream_from(request, on_event=StderrNotifier())


def open_attached(
    client: Client, start: job_attach_pb2.AttachStart, stdin: AsyncIterable[bytes] | None
) -> AttachedStream:
    """Return the stream like `open_stream`, which also sends the input of the job."""
    return client.attach_from(start, stdin, on_event=StderrNotifier())


async def start_offset(client: Client, request: job_service_pb2.GetJobsStreamRequest) -> int:
    """Return the first byte of the output for a request.

    Raises:
        CliError: the server refused the request or stayed unavailable.
    """
    try:
        async with client.stream_from(request) as stream:
            async for chunk in stream:
                return chunk.offset
            return stream.request.offset
    except JobWorkerError as error:
        raise to_cli_error(error) from error


async def copy_stream(stream: JobStream, write: Write, resume: str = "") -> job_pb2.Job:
    """Write all output and return the job from the last message.

    If the connection is lost, the error names the command line `resume`, or one for the rest of the output.

    Raises:
        CliError: the server refused the request or stayed unavailable.
        OSError: `write` failed.
    """
    start = stream.request.offset
    try:
        async with stream:
            async for chunk in stream:
                await write(chunk)
    except OffsetOutOfRange as error:
        again = f"the cluster has started the job again; `jobworker stream {stream.request.id}` follows it"
        raise to_cli_error(error, hint=again if stream.request.offset > start else "") from error
    except JobWorkerError as error:
        raise to_cli_error(error, hint=_resume_hint(error, resume, stream.request)) from error
    return stream.result


def stream_command(request: job_service_pb2.GetJobsStreamRequest) -> str:
    """Return the command line for a request."""
    words = ["jobworker", "stream"]
    if request.offset:
        words += ["--offset", str(request.offset)]
    if request.HasField("tail_lines"):
        words += ["--tail", str(request.tail_lines)]
    if request.HasField("since"):
        words += ["--since", request.since.ToJsonString()]
    if request.source == job_output_pb2.OUTPUT_SOURCE_STDOUT:
        words.append("--stdout-only")
    if request.source == job_output_pb2.OUTPUT_SOURCE_STDERR:
        words.append("--stderr-only")
    return " ".join([*words, request.id])


def _resume_hint(error: JobWorkerError, resume: str, request: job_service_pb2.GetJobsStreamRequest) -> str:
    if error.retryable and resume:
        return f"`{resume}` returns to the job"
    if error.retryable and request.offset:
        return f"`{stream_command(request)}` resumes the output"
    return ""


def _next_step(event: Reconnecting) -> str:
    return "retrying" if event.offset is None else f"resuming at byte {event.offset}"
