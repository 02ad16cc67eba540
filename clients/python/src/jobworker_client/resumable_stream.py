"""Read the output of one job over as many connections as needed.

`ResumableStream` builds the requests, checks the messages and decides about retries. It makes no calls and
takes the time as an argument.

The log has absolute byte offsets, so a stream resumes exactly where it broke. The offset of each message is
checked, which guarantees that no byte is missing or repeated.
"""

from collections.abc import Iterator

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from jobworker_client.chunks import Chunk, split_chunk
from jobworker_client.errors import (
    ClientReason,
    ConnectionLost,
    UnexpectedOffset,
)
from jobworker_client.events import EventHandler, TruncatedRange
from jobworker_client.resumable_call import ResumableCall
from jobworker_client.retry_policy import RetryPolicy

__all__ = [
    "Chunk",
    "ResumableStream",
    "StreamRequest",
    "StreamStatus",
]

StreamRequest = job_service_pb2.GetJobsStreamRequest


class ResumableStream(ResumableCall[StreamRequest, Chunk, Chunk]):
    """State of one reader.

    `request` describes the output that the caller has not consumed yet; its offset advances with the output.
    The server resolves a start by lines, bytes or time, and the first message contains the offset.

    Each call requests messages with both sources. They are split into chunks of one source and one time,
    unless the caller's request has `mixed_sources`.
    """

    def __init__(
        self,
        request: StreamRequest,
        *,
        deadline: float | None = None,
        on_event: EventHandler | None = None,
        policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__(deadline=deadline, on_event=on_event, policy=policy)
        self.request = StreamRequest()
        self.request.CopyFrom(request)
        self.truncated: list[TruncatedRange] = []
        self.result: job_pb2.Job | None = None
        self._current: Chunk | None = None
        self._chunks: Iterator[Chunk] = iter(())

    def _request(self) -> StreamRequest:
        # A copy, because `self.request` changes with each message while gRPC may still use the request.
        request = StreamRequest()
        request.CopyFrom(self.request)
        request.mixed_sources = True
        return request

    def _process(self, message: Chunk) -> None:
        """Process a message.

        Raises:
            UnexpectedOffset: output is missing or repeated before this message. The stream has ended.
        """
        match message.WhichOneof("kind"):
            case "result":
                self.result, self.ended = message.result, True
            case "start_offset":
                self._check_offset(message.start_offset)
            case "truncated":
                self._check_offset(message.offset)
                self._skip(message.truncated)
            case "payload":
                self._check_offset(message.offset)
                self._chunks = iter((message,)) if self.request.mixed_sources else split_chunk(message)

    def next_item(self) -> Chunk | None:
        """Return the next chunk of the last message; None after the last chunk."""
        chunk = next(self._chunks, None)
        if chunk is not None:
            self._current = chunk
        return chunk

    def commit(self) -> None:
        """Mark the last chunk as consumed: a reconnect continues after it."""
        if self._current is not None:
            self.request.offset = self._current.next_offset
            self._current = None

    def end_of_call(self) -> ConnectionLost:
        """Return the error for a stream that ended without a result."""
        return ConnectionLost(
            "the stream ended without the result of the job",
            reason=ClientReason.CONNECTION_LOST,
            retryable=True,
        )

    def _offset(self) -> int | None:
        return self.request.offset if _has_exact_offset(self.request) else None

    def _check_offset(self, offset: int) -> None:
        expected = self.request.offset
        may_skip = self.request.source or not _has_exact_offset(self.request)
        if offset != expected and not (offset > expected and may_skip):
            self.ended = True
            raise UnexpectedOffset(
                f"the server sent output at offset {offset} instead of {expected}",
                reason=ClientReason.UNEXPECTED_OFFSET,
            )
        self.request.offset = offset
        for field in ("tail_lines", "tail_bytes", "since"):
            self.request.ClearField(field)

    def _skip(self, missing: job_output_pb2.TruncatedRange) -> None:
        truncated = TruncatedRange(missing.from_offset, missing.to_offset, missing.reason)
        self.truncated.append(truncated)
        self.request.offset = missing.to_offset
        if self._on_event is not None:
            self._on_event(truncated)


class StreamStatus:
    """The output of a job, chunk by chunk until the end of the job; then `result` is the job.

    A chunk has `payload` (bytes, split anywhere), `offset` (log offset of the first byte), `source` and
    `time`. A request with `mixed_sources` returns the messages of the server unchanged. This is faster for a
    job that writes many small pieces; `split_chunk` and `source_runs` split such a message.

    The iteration resumes after the last chunk if the connection breaks, the server restarts, or the server
    closes the stream of a slow client (READER_STALLED). No byte is missing or repeated. `truncated` lists
    the bytes that the server no longer has. The `on_event` handler is called with each `TruncatedRange` and
    each `Reconnecting` as it occurs.

    The iteration raises `JobWorkerError` if the server refuses the request, or stays away for too long.
    Close a stream that is not read to its end: use it as a context manager, or call `close`.
    """

    def __init__(self, state: ResumableStream) -> None:
        self._state = state

    @property
    def result(self) -> job_pb2.Job:
        """The job, which is final unless `follow` was False.

        Raises:
            RuntimeError: the iteration is not complete.
        """
        if self._state.result is None:
            raise RuntimeError("the stream has no result before its end; read it to the end, or use wait()")
        return self._state.result

    @property
    def truncated(self) -> tuple[TruncatedRange, ...]:
        """The ranges that the server no longer has."""
        return tuple(self._state.truncated)

    @property
    def request(self) -> job_service_pb2.GetJobsStreamRequest:
        """The request for the rest of the output, for `stream_from`.

        A chunk counts as consumed when the next one is requested.
        """
        return self._state.request


def _has_exact_offset(request: job_service_pb2.GetJobsStreamRequest) -> bool:
    """Tell whether the stream starts at `offset`; otherwise the server resolves the start."""
    return not any(request.HasField(field) for field in ("tail_lines", "tail_bytes", "since"))
