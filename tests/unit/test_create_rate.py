"""The rate of CreateJob calls."""

import pytest

from jobworkerd import create_rate
from jobworkerd.create_rate import CreateRate
from jobworkerd.errors import QuotaExceeded, ServerBusy


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the rates."""
    return Clock()


def rate_of(clock: Clock, one: float = 0, total: float = 0) -> CreateRate:
    return CreateRate(one, total, clock)


def accepted(rate: CreateRate, owner: str, calls: int) -> int:
    """Return how many of some calls are accepted."""
    count = 0
    for _ in range(calls):
        try:
            rate.take(owner)
        except (QuotaExceeded, ServerBusy):
            continue
        count += 1
    return count


def test_without_a_rate_all_calls_are_accepted(clock: Clock) -> None:
    assert accepted(rate_of(clock), "ann", 10_000) == 10_000


def test_a_burst_of_one_second_is_accepted_and_then_the_rate(clock: Clock) -> None:
    rate = rate_of(clock, one=10)
    assert accepted(rate, "ann", 100) == 10
    assert accepted(rate, "bob", 100) == 10
    for _ in range(5):
        clock.now += 0.35
        assert accepted(rate, "ann", 100) in {3, 4}
    clock.now += 60
    assert accepted(rate, "ann", 100) == 10


def test_a_low_rate_accepts_one_call(clock: Clock) -> None:
    rate = rate_of(clock, one=0.1)
    assert accepted(rate, "ann", 3) == 1
    clock.now += 9.9
    assert accepted(rate, "ann", 3) == 0
    clock.now += 0.2
    assert accepted(rate, "ann", 3) == 1


def test_the_refusal_has_the_time_of_a_retry(clock: Clock) -> None:
    rate = rate_of(clock, one=0.5)
    rate.take("ann")
    clock.now += 0.5
    with pytest.raises(QuotaExceeded, match=r"more than 0\.5 CreateJob calls per second") as caught:
        rate.take("ann")
    assert (caught.value.quota, caught.value.limit) == ("quota.admin.create_rate", 0.5)
    clock.now += caught.value.retry_seconds - 0.001
    assert accepted(rate, "ann", 1) == 0
    clock.now += 0.002
    assert accepted(rate, "ann", 1) == 1


def test_all_clients_share_the_total(clock: Clock) -> None:
    rate = rate_of(clock, one=5, total=8)
    assert accepted(rate, "ann", 100) == 5
    assert accepted(rate, "bob", 100) == 3
    with pytest.raises(ServerBusy, match="max_create_rate"):
        rate.take("bob")
    clock.now += 10
    assert accepted(rate, "bob", 100) == 5


def test_clients_with_full_buckets_are_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create_rate, "_FEW_CLIENTS", 3)
    rate = rate_of(clock, one=1)
    for number in range(100):
        rate.take(f"owner {number}")
        assert number == 0 or accepted(rate, f"owner {number - 1}", 1) == 0
        clock.now += 0.5
    assert len(rate._clients._full_at) <= 4
