"""How long `memory.high` may slow a job, by counts and times."""

import pytest

from jobworkerd.supervisor.throttling import Throttling, Verdict


@pytest.fixture
def throttling() -> Throttling:
    return Throttling(patience=3)


def test_a_job_that_is_slowed_in_a_row_is_told_once_it_is_too_long(throttling: Throttling) -> None:
    assert throttling.look({"a": 5, "b": 0}, now=0) == Verdict(reached=["a"])
    for second in (1, 2):
        assert throttling.look({"a": 5 + second, "b": 0}, now=second) == Verdict()
        assert throttling.goes_on(second)
    assert throttling.look({"a": 9, "b": 0}, now=3) == Verdict(too_long=["a"])
    assert throttling.look({"a": 9, "b": 0}, now=7) == Verdict()
    assert not throttling.goes_on(7)


def test_a_pause_begins_anew(throttling: Throttling) -> None:
    for now, count in ((0, 1), (2, 2), (6, 3), (7, 4), (8, 5)):
        assert not throttling.look({"a": count}, now=now).too_long
    assert throttling.look({"a": 6}, now=9).too_long == ["a"]


def test_a_count_that_rests_while_the_kernel_throttles_is_no_pause(throttling: Throttling) -> None:
    for now, count in ((0, 1), (1, 1), (2, 1)):
        assert not throttling.look({"a": count}, now=now).too_long
        assert throttling.goes_on(now)
    assert throttling.look({"a": 2}, now=3).too_long == ["a"]


def test_it_is_told_again_where_it_goes_on(throttling: Throttling) -> None:
    """As where the limit was changed, which sets memory.high again."""
    found = [bool(throttling.look({"a": now + 1}, now=now).too_long) for now in range(8)]
    assert found == [False, False, False, True, False, False, True, False]


def test_without_patience_nothing_is_too_long() -> None:
    throttling = Throttling(patience=0)
    assert not any(throttling.look({"a": now + 1}, now=now).too_long for now in range(100))


def test_a_job_that_ended_is_forgotten(throttling: Throttling) -> None:
    throttling.look({"a": 1}, now=0)
    throttling.look({}, now=1)
    assert not throttling.goes_on(1)
