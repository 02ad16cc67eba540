"""Decide when to retry a call. Makes no calls, and takes the time as an argument."""

from dataclasses import dataclass

from jobworker_client.errors import JobWorkerError, Unreachable

__all__ = ["CallRetry", "RetryPolicy", "StreamRetry"]


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Number and times of retries, in seconds.

    The sum of `call_backoff` exceeds the 3 s that a restart of the server takes on a busy host.

    Attributes:
        call_backoff: delay before each retry of a unary call.
        stream_backoff: delay before each retry of a stream; the last delay repeats.
        connect_timeout: how long to retry a stream that has not received a message.
        resume_timeout: how long to retry a stream after its last progress.
        healthy_after: a stream that was open for longer counts as progress, even if the job was silent.
    """

    call_backoff: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0)
    stream_backoff: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0)
    connect_timeout: float = 5.0
    resume_timeout: float = 30.0
    healthy_after: float = 10.0


class CallRetry:
    """The retries of one unary call. `now` is a monotonic time in seconds."""

    def __init__(self, policy: RetryPolicy, deadline: float | None, now: float) -> None:
        self.retries = 0
        self._end = None if deadline is None else now + deadline
        self._backoff = iter(policy.call_backoff)
        self._first_error: JobWorkerError | None = None

    def timeout(self, now: float) -> float | None:
        """Return the timeout of the next attempt in seconds; None = no timeout."""
        return None if self._end is None else max(0.0, self._end - now)

    def next_delay(self, error: JobWorkerError, now: float) -> float:
        """Return the delay before the next attempt in seconds.

        Raises:
            JobWorkerError: `error` is not retryable, or there are no retries left. After retries this is
                the first error: for a host with several addresses gRPC reports one of them. Later attempts
                may only reach the address without a server while the others are in backoff.
        """
        if not error.retryable:
            raise error
        self._first_error = self._first_error or error
        delay = next(self._backoff, None)
        if delay is None or (self._end is not None and now + delay >= self._end):
            raise self._first_error
        self.retries += 1
        return delay


class StreamRetry:
    """The retries of a stream, or of a wait, which also lasts until the job has ended.

    `now` is a monotonic time in seconds. `retries` counts the retries since the last progress.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self.retries = 0
        self._policy = policy
        self._until: float | None = None
        self._call_start = 0.0
        self._progress = False

    def start_call(self, now: float) -> None:
        """Record the start of a call. The first call starts `connect_timeout`."""
        self._call_start = now
        if self._until is None:
            self._until = now + self._policy.connect_timeout

    def made_progress(self) -> None:
        """Record a message of the server: the next failure restarts `resume_timeout`."""
        self._progress = True

    def time_left(self, now: float) -> float:
        """Return the time in seconds until retries end."""
        assert self._until is not None
        return self._until - now

    def next_delay(self, error: JobWorkerError, now: float) -> float:
        """Return the delay before the next call in seconds.

        Raises:
            JobWorkerError: `error` is not retryable, or the time for retries is over.
        """
        if self._progress or self._was_healthy(error, now):
            self._until, self.retries, self._progress = now + self._policy.resume_timeout, 0, False
        left = self.time_left(now)
        if not error.retryable or left <= 0:
            raise error
        backoff = self._policy.stream_backoff
        delay = backoff[min(self.retries, len(backoff) - 1)]
        self.retries += 1
        return min(delay, left)

    def _was_healthy(self, error: JobWorkerError, now: float) -> bool:
        """Tell whether a call without messages belonged to a silent job rather than to a dead server."""
        return now - self._call_start > self._policy.healthy_after and not isinstance(error, Unreachable)
