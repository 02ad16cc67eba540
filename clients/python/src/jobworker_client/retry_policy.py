"""How often a call that is safe to repeat is made: knows neither gRPC nor a clock nor how to wait."""

from jobworker_client.errors import JobWorkerError

__all__ = ["PAUSES", "Attempts"]

# The pauses between a call's attempts, in seconds: together more than the second that the server takes
# to start an API process anew, and little enough to wait for where there is no server at all.
PAUSES = (0.1, 0.2, 0.4, 0.8)


class Attempts:
    """One call, from its first attempt to its answer. `now` is a monotonic time in seconds."""

    def __init__(self, deadline: float | None, now: float) -> None:
        self._until = None if deadline is None else now + deadline
        self._pauses = iter(PAUSES)
        self._first: JobWorkerError | None = None

    def timeout(self, now: float) -> float | None:
        """Returns how many seconds the next attempt may take; None = any number."""
        return None if self._until is None else max(0.0, self._until - now)

    def pause(self, failure: JobWorkerError, now: float) -> float:
        """Returns how many seconds to wait before the next attempt.

        Raises:
            JobWorkerError: there is no next one. It is the first attempt's failure if all of them were
                retryable: of a host with several addresses gRPC names one address's error, and later
                attempts may meet only the one that nobody listens on, while the one that refused us
                is in back-off.
        """
        if not failure.retryable:
            raise failure
        self._first = self._first or failure
        pause = next(self._pauses, None)
        if pause is None or (self._until is not None and now + pause >= self._until):
            raise self._first
        return pause
