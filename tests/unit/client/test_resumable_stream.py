"""Tests of `ResumableStream`: where it resumes and when it fails, with explicit times."""

import pytest
from google.protobuf.descriptor import FieldDescriptor

from jobworker.v1 import job_output_pb2, job_pb2
from jobworker_client import (
    Chunk,
    ConnectionLost,
    DeadlineExceeded,
    JobNotFound,
    JobWorkerError,
    ReaderStalled,
    Reconnecting,
    StatusLost,
    StreamEvent,
    TruncatedRange,
    UnexpectedOffset,
    Unreachable,
)
from jobworker_client.resumable_stream import ResumableStream
from jobworker_client.retry_policy import RetryPolicy
from scripted import JOB_ID, StreamRequest
from scripted_messages import StreamMessage, stdout

POLICY = RetryPolicy()
BACKOFF = POLICY.stream_backoff
KINDS = list(StreamMessage.DESCRIPTOR.oneofs_by_name["kind"].fields)

LOST = ConnectionLost("lost", reason="CONNECTION_LOST", retryable=True)
REFUSED = Unreachable("refused", reason="UNREACHABLE", retryable=True)
UNKNOWN = StatusLost("unknown", reason="CONNECTION_LOST", retryable=True)
STALLED = ReaderStalled("stalled", reason="READER_STALLED", retryable=True)


def started(
    deadline: float | None = None, events: list[StreamEvent] | None = None, **options: int
) -> ResumableStream:
    """Return a stream that made its first request at 100 s."""
    request = StreamRequest(id=JOB_ID, **options)  # type: ignore[arg-type]  # all options are numbers
    on_event = None if events is None else events.append
    stream = ResumableStream(request, deadline=deadline, on_event=on_event)
    stream.next_request(100)
    return stream


def receive(stream: ResumableStream, message: Chunk) -> list[Chunk]:
    """Process a message and return its chunks."""
    stream.receive(message)
    return list(iter(stream.next_item, None))


def truncated(from_offset: int, to_offset: int) -> Chunk:
    """Return the message for a range that the server no longer has."""
    missing = job_output_pb2.TruncatedRange(from_offset=from_offset, to_offset=to_offset, reason="bounded")
    return Chunk(offset=from_offset, truncated=missing)


def test_commit_advances_the_offset_once() -> None:
    stream = started()
    assert receive(stream, stdout(b"abc", 0))
    assert stream.request.offset == 0
    stream.commit()
    stream.commit()
    assert stream.next_request(101)[0] == StreamRequest(id=JOB_ID, offset=3, mixed_sources=True)


def test_tail_is_requested_again_until_the_server_has_resolved_it() -> None:
    stream = started(tail_lines=1, tail_bytes=9)
    tail = StreamRequest(id=JOB_ID, tail_lines=1, tail_bytes=9, mixed_sources=True)
    assert stream.next_request(101)[0] == tail
    assert not receive(stream, Chunk(start_offset=70))
    assert stream.next_request(102)[0] == StreamRequest(id=JOB_ID, offset=70, mixed_sources=True)


def test_unexpected_offset_ends_the_stream() -> None:
    stream = started()
    with pytest.raises(UnexpectedOffset, match="at offset 1 instead of 0"):
        stream.receive(stdout(b"x", 1))
    assert stream.ended


def test_truncated_range_is_reported_and_skipped() -> None:
    events: list[StreamEvent] = []
    stream = started(events=events)
    assert not receive(stream, truncated(0, 50))
    assert events == stream.truncated == [TruncatedRange(0, 50, "bounded")]
    assert receive(stream, stdout(b"x", 50))


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.name)
def test_every_kind_of_message_is_handled(kind: FieldDescriptor) -> None:
    stream = started(tail_lines=1)
    message = Chunk(offset=5, next_offset=6)
    if kind.message_type is not None:
        getattr(message, kind.name).SetInParent()
    else:
        setattr(message, kind.name, b"x" if kind.name == "payload" else 5)
    before = StreamRequest.FromString(stream.request.SerializeToString())
    receive(stream, message)
    assert stream.ended or stream.request != before


def test_message_of_an_unknown_kind_is_ignored() -> None:
    stream = started()
    assert not receive(stream, Chunk(offset=5, next_offset=5))
    assert stream.request.offset == 0
    assert not stream.ended


def test_result_ends_the_stream() -> None:
    stream = started()
    assert not receive(stream, Chunk(result=job_pb2.Job(id=JOB_ID)))
    assert stream.ended
    assert stream.result is not None


def test_reconnect_is_reported_with_a_resolved_offset_only() -> None:
    events: list[StreamEvent] = []
    stream = started(events=events, tail_lines=3)
    stream.next_delay(LOST, 100)
    assert receive(stream, stdout(b"abc", 9))
    stream.commit()
    stream.next_delay(LOST, 100)
    assert events == [Reconnecting(LOST, None), Reconnecting(LOST, 12)]


def test_retries_without_progress_are_reported_once() -> None:
    events: list[StreamEvent] = []
    stream = started(events=events)
    for now in (100, 101):
        stream.next_delay(LOST, now)
        stream.next_request(now)
    stream.receive(Chunk(offset=0))
    stream.next_delay(LOST, 101)
    assert len(events) == 2


@pytest.mark.parametrize(
    ("failures", "reported"),
    [
        ([UNKNOWN], []),
        ([UNKNOWN, LOST, LOST], [LOST]),
        ([UNKNOWN, UNKNOWN, LOST], [UNKNOWN]),
        ([LOST, UNKNOWN, REFUSED], [LOST]),
        ([STALLED, LOST, LOST], [STALLED, LOST]),
    ],
)
def test_an_outage_is_reported_whatever_its_first_error_is(
    failures: list[JobWorkerError], reported: list[JobWorkerError]
) -> None:
    events: list[StreamEvent] = []
    stream = started(events=events)
    for _ in range(2):
        for error in failures:
            stream.next_delay(error, 100)
            stream.next_request(100)
        stream.receive(Chunk(offset=0))
    assert [event.error for event in events if isinstance(event, Reconnecting)] == reported * 2


def test_delays_grow_until_there_is_progress() -> None:
    stream = started()
    stream.receive(stdout(b"x", 0))
    assert [stream.next_delay(LOST, 100)] == [BACKOFF[0]]
    stream.next_request(100)
    assert [stream.next_delay(LOST, 100) for _ in range(6)] == [*BACKOFF[1:], BACKOFF[-1], BACKOFF[-1]]
    stream.next_request(100)
    stream.receive(Chunk(offset=0))
    assert stream.next_delay(LOST, 100) == BACKOFF[0]


@pytest.mark.parametrize(
    ("progress", "timeout"), [(False, POLICY.connect_timeout), (True, POLICY.resume_timeout)]
)
def test_retries_end_after_the_connect_or_resume_timeout(*, progress: bool, timeout: float) -> None:
    stream = started()
    if progress:
        stream.receive(Chunk(offset=0))
    stream.next_delay(LOST, 100)
    assert stream.time_left(100) == timeout
    stream.next_request(100 + timeout)
    with pytest.raises(ConnectionLost):
        stream.next_delay(LOST, 100 + timeout)
    assert stream.ended


def test_long_silent_stream_counts_as_progress_but_a_failed_connect_does_not() -> None:
    later = 100 + POLICY.healthy_after + 1
    stream = started()
    stream.next_delay(LOST, later)
    assert stream.time_left(later) == POLICY.resume_timeout
    with pytest.raises(Unreachable):
        started().next_delay(REFUSED, later)


def test_permanent_error_is_raised_at_once() -> None:
    stream = started()
    with pytest.raises(JobNotFound):
        stream.next_delay(JobNotFound("no"), 100)
    assert stream.ended


def test_deadline_bounds_delays_and_timeouts() -> None:
    stream = started(deadline=1)
    assert stream.next_request(100.75)[1] == 0.25
    stream.receive(Chunk(offset=0))
    assert stream.next_delay(LOST, 100.99) == pytest.approx(0.01)
    assert stream.time_left(102) == 0
    assert stream.next_request(102)[1] == 0


@pytest.mark.parametrize(("now", "kind"), [(100.5, ConnectionLost), (101, DeadlineExceeded)])
def test_error_without_a_connection_depends_on_the_deadline(now: float, kind: type[JobWorkerError]) -> None:
    assert type(started(deadline=1).expire(LOST, now)) is kind
