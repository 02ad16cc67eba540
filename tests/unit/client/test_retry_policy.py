"""Tests of the retries of unary calls, with explicit times."""

import pytest

from jobworker_client import ConnectionLost, JobNotFound, JobWorkerError, Unreachable
from jobworker_client.retry_policy import CallRetry, RetryPolicy

LOST = ConnectionLost("lost", retryable=True)
BACKOFF = RetryPolicy().call_backoff


def call_retry(deadline: float | None = None, now: float = 0) -> CallRetry:
    """Return the retries of a call with the default policy."""
    return CallRetry(RetryPolicy(), deadline, now)


def test_call_is_retried_once_per_delay() -> None:
    retry = call_retry()
    assert [retry.next_delay(LOST, 0) for _ in BACKOFF] == list(BACKOFF)
    with pytest.raises(ConnectionLost):
        retry.next_delay(LOST, 0)


def test_permanent_error_is_raised_at_once() -> None:
    with pytest.raises(JobNotFound):
        call_retry().next_delay(JobNotFound("no"), 0)


def test_first_error_is_raised_after_the_last_retry() -> None:
    retry = call_retry()
    error: JobWorkerError = Unreachable("certificate refused", retryable=True)
    for _ in BACKOFF:
        retry.next_delay(error, 0)
        error = LOST
    with pytest.raises(Unreachable, match="certificate refused"):
        retry.next_delay(LOST, 0)


def test_no_delay_ends_after_the_deadline() -> None:
    retry = call_retry(0.25, 100)
    assert retry.next_delay(LOST, 100) == 0.1
    with pytest.raises(ConnectionLost):
        retry.next_delay(LOST, 100.1)


def test_timeout_of_an_attempt_is_the_rest_of_the_deadline() -> None:
    retry = call_retry(5, 100)
    assert [retry.timeout(now) for now in (100, 104, 106)] == [5, 1, 0]
    assert call_retry(None, 100).timeout(200) is None
