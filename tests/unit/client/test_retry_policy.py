"""How often a call is made, with the time given."""

import pytest

from jobworker_client import ConnectionLost, JobNotFound, JobWorkerError, Unreachable
from jobworker_client.retry_policy import PAUSES, Attempts

LOST = ConnectionLost("lost", retryable=True)


def test_there_are_as_many_attempts_as_pauses_and_one() -> None:
    attempts = Attempts(None, 0)
    assert [attempts.pause(LOST, 0) for _ in PAUSES] == list(PAUSES)
    with pytest.raises(ConnectionLost):
        attempts.pause(LOST, 0)


def test_what_is_not_retryable_is_raised_at_once() -> None:
    with pytest.raises(JobNotFound):
        Attempts(None, 0).pause(JobNotFound("no"), 0)


def test_the_first_of_the_failures_is_raised() -> None:
    attempts = Attempts(None, 0)
    first: JobWorkerError = Unreachable("refused us", retryable=True)
    for _ in PAUSES:
        attempts.pause(first, 0)
        first = first if first.message == "refused us" else LOST
    with pytest.raises(Unreachable, match="refused us"):
        attempts.pause(LOST, 0)


def test_no_pause_ends_behind_the_deadline() -> None:
    attempts = Attempts(0.25, 100)
    assert attempts.pause(LOST, 100) == 0.1
    with pytest.raises(ConnectionLost):
        attempts.pause(LOST, 100.1)


def test_each_attempt_has_what_is_left_of_the_deadline() -> None:
    attempts = Attempts(5, 100)
    assert [attempts.timeout(now) for now in (100, 104, 106)] == [5, 1, 0]
    assert Attempts(None, 100).timeout(200) is None
