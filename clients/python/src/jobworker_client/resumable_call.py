"""Continue a stream of the server over as many calls as needed.

Makes no calls, and takes the time as an argument.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from jobworker_client.errors import DeadlineExceeded, JobWorkerError, ReaderStalled, StatusLost
from jobworker_client.events import EventHandler, Reconnecting
from jobworker_client.retry_policy import RetryPolicy, StreamRetry

__all__ = ["ResumableCall"]

Request = TypeVar("Request")
Message = TypeVar("Message")
Item = TypeVar("Item")


class ResumableCall(ABC, Generic[Request, Message, Item]):
    """State of one stream, which turns messages into items. `now` is a monotonic time in seconds."""

    def __init__(self, *, deadline: float | None, on_event: EventHandler | None, policy: RetryPolicy) -> None:
        self.ended = False
        self._deadline = deadline
        self._on_event = on_event
        self._retry = StreamRetry(policy)
        self._end: float | None = None
        self._outage_reported = False

    def next_request(self, now: float) -> tuple[Request, float | None]:
        """Return the request for the next call and its timeout in seconds."""
        if self._end is None and self._deadline is not None:
            self._end = now + self._deadline
        self._retry.start_call(now)
        return self._request(), None if self._end is None else max(0.0, self._end - now)

    def made_progress(self) -> None:
        """Note that the server has accepted something, although it sent no output."""
        self._retry.made_progress()

    def receive(self, message: Message) -> None:
        """Process a message; `next_item` then returns its items."""
        self._retry.made_progress()
        self._process(message)

    @abstractmethod
    def _request(self) -> Request:
        """Return a request for what the caller does not have yet. It does not change later."""

    @abstractmethod
    def _process(self, message: Message) -> None:
        """Process a message."""

    @abstractmethod
    def next_item(self) -> Item | None:
        """Return the next item of the last message; None after the last one."""

    @abstractmethod
    def commit(self) -> None:
        """Mark the last item as consumed: a reconnect continues after it."""

    @abstractmethod
    def end_of_call(self) -> JobWorkerError:
        """Return the error for a call that the server has ended without an error."""

    def _offset(self) -> int | None:
        """Return the first byte to request after a reconnect, if the stream has bytes."""
        return None

    def next_delay(self, error: JobWorkerError, now: float) -> float:
        """Return the delay in seconds before the next call, after a call that failed with `error`.

        Raises:
            JobWorkerError: `error` is not retryable, or the time for retries is over.
        """
        try:
            delay = self._retry.next_delay(error, now)
        except JobWorkerError:
            self.ended = True
            raise
        self._report(error)
        return min(delay, self.time_left(now))

    def _report(self, error: JobWorkerError) -> None:
        """Report the first failure since the last progress.

        The next call usually succeeds after two kinds of failures: a lost status is not reported unless the
        next call fails, too. A stalled reader is reported, and so is an outage that follows.
        """
        first = self._retry.retries == 1
        if first:
            self._outage_reported = False
        if self._outage_reported or (first and isinstance(error, StatusLost)):
            return
        self._outage_reported = not isinstance(error, ReaderStalled)
        if self._on_event is not None:
            self._on_event(Reconnecting(error, self._offset()))

    def time_left(self, now: float) -> float:
        """Return the time in seconds that is left to connect."""
        left = self._retry.time_left(now)
        return max(0.0, left if self._end is None else min(left, self._end - now))

    def expire(self, error: JobWorkerError, now: float) -> JobWorkerError:
        """End the stream and return its error, if no connection was possible in time after `error`."""
        self.ended = True
        if self._end is not None and now >= self._end:
            return DeadlineExceeded(f"the deadline passed after: {error}", code="DEADLINE_EXCEEDED")
        return error
