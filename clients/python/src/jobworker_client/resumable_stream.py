"""One reader of one job's output, over as many connections as it takes: what to ask for, what to make of
each message, when to go on and when to give up. Knows neither gRPC nor a clock nor how to wait.

The log is addressed by bytes, so a stream that breaks is taken up where it broke: what is handed on has
no gap and no byte twice, and each message's offset is checked against what it must be.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client.errors import ConnectionLost, DeadlineExceeded, JobWorkerError, WrongOffset
from jobworker_client.pieces import Chunk, end_of, pieces

__all__ = ["Chunk", "Notify", "Reading", "Resuming", "Told", "Truncated", "without_result"]

# How long, in seconds, a server may be away: at the start, where it most likely is not there at all, and
# once it has been there, where somebody is restarting it.
CONNECT_WITHIN = 2.0
RESUME_WITHIN = 30.0

# A stream that lived that long was a good one, even if the job was silent. In seconds.
GOOD_AFTER = 10.0

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Truncated:
    """Bytes of the output that the server does not have: from `begin` up to but without `end`, and why."""

    begin: int
    end: int
    why: str


@dataclass(frozen=True)
class Resuming:
    """The stream broke for `error`, and is asked for again, as often as it takes.

    `offset` is the byte that it goes on from; None = as it was asked for at first, since nothing came.
    """

    error: JobWorkerError
    offset: int | None


Notify = Callable[[Truncated | Resuming], None]


class Reading:
    """Where a reader stands. `now` is a monotonic time in seconds, in every method.

    `request` is what the reader asks for next, and changes as output comes: its offset is where the
    reader stands, with all bytes before it dealt with. The place of a tail or a time is for the server to
    find, and known from the first message on.

    The server is always asked for messages of both sources. They are handed on in pieces of one source and
    one time, unless the request itself has `mixed_sources`.
    """

    def __init__(
        self,
        request: job_service_pb2.GetJobsStreamRequest,
        *,
        deadline: float | None = None,
        notify: Notify | None = None,
    ) -> None:
        self.request = job_service_pb2.GetJobsStreamRequest()
        self.request.CopyFrom(request)
        self.truncated: list[Truncated] = []
        self.result: job_pb2.Job | None = None
        self.ended = False
        self._deadline = deadline
        self._notify = notify
        self._until: float | None = None
        self._give_up: float | None = None
        self._began = 0.0
        self._attempt = 0
        self._progress = False
        self._in_hand: Chunk | None = None
        self._pieces: Iterator[Chunk] = iter(())

    def ask(self, now: float) -> tuple[job_service_pb2.GetJobsStreamRequest, float | None]:
        """Returns what to ask the server for, and how many seconds that call may take."""
        if self._give_up is None:
            self._give_up = now + CONNECT_WITHIN
            self._until = None if self._deadline is None else now + self._deadline
        self._progress, self._began = False, now
        # A copy: what is asked for next changes with each message, what was asked for does not.
        asked = job_service_pb2.GetJobsStreamRequest()
        asked.CopyFrom(self.request)
        asked.mixed_sources = True
        return asked, None if self._until is None else max(0.0, self._until - now)

    def take(self, message: Chunk) -> None:
        """Takes the next message; its output is what `next_piece` returns then.

        Raises:
            WrongOffset: the message is not the one that is due. The reading has ended then.
        """
        self._progress = True
        if message.HasField("result"):
            self.result, self.ended = message.result, True
            return
        self._stand_at(message.offset)
        if message.HasField("truncated"):
            self._skip(message.truncated)
        elif message.payload:
            self._pieces = iter((message,)) if self.request.mixed_sources else pieces(message)

    def next_piece(self) -> Chunk | None:
        """Returns the next output of the message that was taken last; None = there is no more of it."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._in_hand = piece
        return piece

    def settle(self) -> None:
        """Counts the output that was handed on last as dealt with."""
        if self._in_hand is not None:
            self.request.offset = end_of(self._in_hand)
            self._in_hand = None

    def pause(self, failure: JobWorkerError, now: float) -> float:
        """Returns how many seconds to wait before there is another call, after one that broke.

        Raises:
            JobWorkerError: there is no other call.
        """
        assert self._give_up is not None
        if self._progress or _was_good(failure, lived=now - self._began):
            self._give_up, self._attempt = now + RESUME_WITHIN, 0
        if not failure.retryable or now >= self._give_up:
            self.ended = True
            raise failure
        if self._notify is not None and self._attempt == 0:
            self._notify(Resuming(failure, self.request.offset if _is_found(self.request) else None))
        pause = PAUSES[min(self._attempt, len(PAUSES) - 1)]
        self._attempt += 1
        return min(pause, self.patience(now))

    def patience(self, now: float) -> float:
        """Returns for how many seconds to wait for a connection."""
        ends = [moment for moment in (self._give_up, self._until) if moment is not None]
        return max(0.0, min(ends) - now)

    def give_up(self, failure: JobWorkerError, now: float) -> JobWorkerError:
        """Returns the error that tells of a connection that did not come back after a failure."""
        self.ended = True
        if self._until is not None and now >= self._until:
            return DeadlineExceeded(f"there was no time left after: {failure}", code="DEADLINE_EXCEEDED")
        return failure

    def _stand_at(self, offset: int) -> None:
        due = self.request.offset
        may_be_later = self.request.source or not _is_found(self.request)
        if offset != due and not (offset > due and may_be_later):
            self.ended = True
            raise WrongOffset(
                f"the server sent byte {offset} of the output where byte {due} was due",
                reason="WRONG_OFFSET",
            )
        self.request.offset = offset
        for field in ("tail_lines", "tail_bytes", "since"):
            self.request.ClearField(field)

    def _skip(self, missing: job_service_pb2.TruncatedRange) -> None:
        truncated = Truncated(missing.from_offset, missing.to_offset, missing.reason)
        self.truncated.append(truncated)
        self.request.offset = missing.to_offset
        if self._notify is not None:
            self._notify(truncated)


class Told:
    """What a stream tells of its reader, however it waits."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @property
    def result(self) -> job_pb2.Job:
        """The job: final, unless `follow` was False.

        Raises:
            RuntimeError: the iteration is not at its end.
        """
        if self._reading.result is None:
            raise RuntimeError("there is no result before the stream's end: iterate to it, or use wait()")
        return self._reading.result

    @property
    def truncated(self) -> tuple[Truncated, ...]:
        """The ranges of the output that the server did not have."""
        return tuple(self._reading.truncated)

    @property
    def request(self) -> job_service_pb2.GetJobsStreamRequest:
        """What `stream_from` takes to go on from here: a chunk counts once the next one is asked for."""
        return self._reading.request


def without_result() -> ConnectionLost:
    """Returns the failure of a stream that just ended."""
    return ConnectionLost(
        "the stream ended without the job's result", reason="CONNECTION_LOST", retryable=True
    )


def _is_found(request: job_service_pb2.GetJobsStreamRequest) -> bool:
    """Tells whether the request's offset is its place, rather than the earliest that it may be."""
    return not any(request.HasField(field) for field in ("tail_lines", "tail_bytes", "since"))


def _was_good(failure: JobWorkerError, *, lived: float) -> bool:
    """Tells whether a stream without a message was one of a silent job rather than a failed attempt."""
    return lived > GOOD_AFTER and failure.reason != "UNREACHABLE"
