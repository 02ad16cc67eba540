"""Decide when to retry a call. Makes no calls, and takes the time as an argument."""

from dataclasses import dataclass

from jobworker_client.errors import JobWorkerError

__all__ = ["CallRetry", "RetryPolicy"]


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Number and times of retries, in seconds.

    The sum of `call_backoff` exceeds the second that the server takes to restart an API process.

    Attributes:
        call_backoff: delay before each retry of a unary call.
        stream_backoff: delay before each retry of a stream; the last delay repeats.
        connect_timeout: how long to retry a stream that has not received a message.
        resume_timeout: how long to retry a stream after its last progress.
        healthy_after: a stream that was open for longer counts as progress, even if the job was silent.
    """

    call_backoff: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    stream_backoff: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0)
    connect_timeout: float = 2.0
    resume_timeout: float = 30.0
    healthy_after: float = 10.0


class CallRetry:
    """The retries of one unary call. `now` is a monotonic time in seconds."""

    def __init__(self, policy: RetryPolicy, deadline: float | None, now: float) -> None:
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
        return delay
