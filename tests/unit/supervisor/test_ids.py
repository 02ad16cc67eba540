"""Job ids: unique, in order, and of the time they were made."""

import uuid
from types import SimpleNamespace

import pytest

from jobworkerd.supervisor import ids
from jobworkerd.supervisor.ids import JobIds

NOW_NS = 1_760_000_000_123_456_789


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = NOW_NS
        monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: self.now_ns))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def milliseconds(job_id: str) -> int:
    return uuid.UUID(job_id).int >> 80


def test_the_form(clock: Clock) -> None:
    job_id = JobIds().new()
    parsed = uuid.UUID(job_id)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert job_id == str(parsed)
    assert milliseconds(job_id) == clock.now_ns // 1_000_000


def test_order_and_uniqueness_on_a_real_clock() -> None:
    job_ids = JobIds()
    made = [job_ids.new() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_order_within_a_moment(clock: Clock) -> None:
    job_ids = JobIds()
    made = [job_ids.new() for _ in range(10_000)]  # more than rand_a's 4,096: the millisecond carries
    assert made == sorted(set(made))
    assert milliseconds(made[0]) == clock.now_ns // 1_000_000


def test_a_clock_that_steps_back(clock: Clock) -> None:
    job_ids = JobIds()
    before = job_ids.new()
    clock.now_ns -= 3_600 * 10**9
    back = [job_ids.new() for _ in range(100)]
    clock.now_ns = NOW_NS + 10**9
    after = job_ids.new()
    made = [before, *back, after]
    assert made == sorted(set(made))
    assert milliseconds(after) == clock.now_ns // 1_000_000


def test_a_fraction_of_a_millisecond_orders_two_processes(clock: Clock) -> None:
    first = JobIds().new()
    clock.now_ns += 1_000
    assert first < JobIds().new()


def test_two_makers_do_not_meet(clock: Clock) -> None:
    assert clock.now_ns == NOW_NS
    assert JobIds().new() != JobIds().new()
