"""Detection of jobs that `memory.high` throttles for too long."""

import pytest

from jobworkerd.supervisor.throttle_detector import ThrottleDetector, ThrottleReport


@pytest.fixture
def detector() -> ThrottleDetector:
    return ThrottleDetector(patience=3)


def test_a_job_is_reported_once_when_it_is_throttled_for_too_long(detector: ThrottleDetector) -> None:
    assert detector.update({"a": 5, "b": 0}, now=0) == ThrottleReport(first=["a"])
    for second in (1, 2):
        assert detector.update({"a": 5 + second, "b": 0}, now=second) == ThrottleReport()
        assert detector.active(second)
    assert detector.update({"a": 9, "b": 0}, now=3) == ThrottleReport(too_long=["a"])
    assert detector.update({"a": 9, "b": 0}, now=7) == ThrottleReport()
    assert not detector.active(7)


def test_a_pause_starts_a_new_streak(detector: ThrottleDetector) -> None:
    for now, count in ((0, 1), (2, 2), (6, 3), (7, 4), (8, 5)):
        assert not detector.update({"a": count}, now=now).too_long
    assert detector.update({"a": 6}, now=9).too_long == ["a"]


def test_a_constant_count_while_the_kernel_throttles_is_not_a_pause(detector: ThrottleDetector) -> None:
    for now, count in ((0, 1), (1, 1), (2, 1)):
        assert not detector.update({"a": count}, now=now).too_long
        assert detector.active(now)
    assert detector.update({"a": 2}, now=3).too_long == ["a"]


def test_a_job_is_reported_again_if_throttling_continues(detector: ThrottleDetector) -> None:
    """A changed limit, for example, sets memory.high again."""
    found = [bool(detector.update({"a": now + 1}, now=now).too_long) for now in range(8)]
    assert found == [False, False, False, True, False, False, True, False]


def test_patience_zero_allows_throttling_forever() -> None:
    detector = ThrottleDetector(patience=0)
    assert not any(detector.update({"a": now + 1}, now=now).too_long for now in range(100))


def test_a_job_that_has_ended_is_forgotten(detector: ThrottleDetector) -> None:
    detector.update({"a": 1}, now=0)
    detector.update({}, now=1)
    assert not detector.active(1)
