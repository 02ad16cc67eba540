"""Where a reader goes on and when it gives up, with the time given."""

import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client import (
    Chunk,
    ConnectionLost,
    DeadlineExceeded,
    JobNotFound,
    JobWorkerError,
    Resuming,
    Truncated,
    Unreachable,
    WrongOffset,
)
from jobworker_client.resumable_stream import CONNECT_WITHIN, GOOD_AFTER, PAUSES, RESUME_WITHIN, Reading
from scripted import JOB_ID, StreamRequest, stdout

Told = list[Truncated | Resuming]

LOST = ConnectionLost("lost", reason="CONNECTION_LOST", retryable=True)
NOBODY = Unreachable("nobody", reason="UNREACHABLE", retryable=True)


def reading(deadline: float | None = None, told: Told | None = None, **part: int) -> Reading:
    """A reader that has asked for a job's output at 100 s."""
    request = StreamRequest(id=JOB_ID, **part)  # type: ignore[arg-type]  # numbers, all of them
    found = Reading(request, deadline=deadline, notify=None if told is None else told.append)
    found.ask(100)
    return found


def taken(read: Reading, message: Chunk) -> list[Chunk]:
    """Takes a message, and returns the output that it brings."""
    read.take(message)
    return list(iter(read.next_piece, None))


def truncated(begin: int, end: int) -> Chunk:
    """A range that the server does not have."""
    missing = job_service_pb2.TruncatedRange(from_offset=begin, to_offset=end, reason="bounded")
    return Chunk(offset=begin, truncated=missing)


def test_a_chunk_counts_once_the_next_is_asked_for() -> None:
    read = reading()
    assert taken(read, stdout(b"abc", 0))
    assert read.request.offset == 0
    read.settle()
    read.settle()
    assert read.ask(101)[0] == StreamRequest(id=JOB_ID, offset=3, mixed_sources=True)


def test_a_tail_is_asked_for_until_its_place_is_known() -> None:
    read = reading(tail_lines=1, tail_bytes=9)
    assert read.ask(101)[0] == StreamRequest(id=JOB_ID, tail_lines=1, tail_bytes=9, mixed_sources=True)
    assert not taken(read, Chunk(offset=70))
    assert read.ask(102)[0] == StreamRequest(id=JOB_ID, offset=70, mixed_sources=True)


def test_a_wrong_offset_ends_the_reading() -> None:
    read = reading()
    with pytest.raises(WrongOffset, match="byte 1 of the output where byte 0 was due"):
        read.take(stdout(b"x", 1))
    assert read.ended


def test_a_range_that_is_gone_is_told_and_skipped() -> None:
    told: Told = []
    read = reading(told=told)
    assert not taken(read, truncated(0, 50))
    assert told == read.truncated == [Truncated(0, 50, "bounded")]
    assert taken(read, stdout(b"x", 50))


def test_the_result_ends_it() -> None:
    read = reading()
    assert not taken(read, Chunk(result=job_pb2.Job(id=JOB_ID)))
    assert read.ended
    assert read.result is not None


def test_each_resumption_is_told_with_its_place_if_that_is_known() -> None:
    told: Told = []
    read = reading(told=told, tail_lines=3)
    read.pause(LOST, 100)
    assert taken(read, stdout(b"abc", 9))
    read.settle()
    read.pause(LOST, 100)
    assert told == [Resuming(LOST, None), Resuming(LOST, 12)]


def test_attempts_without_progress_are_told_of_once() -> None:
    told: Told = []
    read = reading(told=told)
    for now in (100, 101):
        read.pause(LOST, now)
        read.ask(now)
    read.take(Chunk(offset=0))
    read.pause(LOST, 101)
    assert len(told) == 2


def test_pauses_grow_and_begin_anew_with_progress() -> None:
    read = reading()
    read.take(stdout(b"x", 0))
    assert [read.pause(LOST, 100)] == [PAUSES[0]]
    read.ask(100)
    assert [read.pause(LOST, 100) for _ in range(6)] == [*PAUSES[1:], PAUSES[-1], PAUSES[-1]]
    read.ask(100)
    read.take(Chunk(offset=0))
    assert read.pause(LOST, 100) == PAUSES[0]


@pytest.mark.parametrize(("progress", "patience"), [(False, CONNECT_WITHIN), (True, RESUME_WITHIN)])
def test_patience_is_short_at_the_start_and_long_with_progress(*, progress: bool, patience: float) -> None:
    read = reading()
    if progress:
        read.take(Chunk(offset=0))
    read.pause(LOST, 100)
    assert read.patience(100) == patience
    read.ask(100 + patience)
    with pytest.raises(ConnectionLost):
        read.pause(LOST, 100 + patience)
    assert read.ended


def test_a_silent_stream_that_lived_long_has_the_full_patience_but_not_an_attempt_to_connect() -> None:
    later = 100 + GOOD_AFTER + 1
    read = reading()
    read.pause(LOST, later)
    assert read.patience(later) == RESUME_WITHIN
    with pytest.raises(Unreachable):
        reading().pause(NOBODY, later)


def test_what_is_not_retryable_is_raised_at_once() -> None:
    read = reading()
    with pytest.raises(JobNotFound):
        read.pause(JobNotFound("no"), 100)
    assert read.ended


def test_nothing_outlasts_the_deadline() -> None:
    read = reading(deadline=1)
    assert read.ask(100.75)[1] == 0.25
    read.take(Chunk(offset=0))
    assert read.pause(LOST, 100.99) == pytest.approx(0.01)
    assert read.patience(102) == 0
    assert read.ask(102)[1] == 0


@pytest.mark.parametrize(("now", "kind"), [(100.5, ConnectionLost), (101, DeadlineExceeded)])
def test_what_is_raised_when_no_connection_comes(now: float, kind: type[JobWorkerError]) -> None:
    assert type(reading(deadline=1).give_up(LOST, now)) is kind
