"""Job ids: unique, ascending, and with the time of their creation."""

import uuid
from types import SimpleNamespace

import pytest

from jobworkerd import job_id
from jobworkerd.job_id import JobIds

NOW_NS = 1_760_000_000_123_456_789


class Clock:
    """A wall clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = NOW_NS
        monkeypatch.setattr(job_id, "time", SimpleNamespace(time_ns=lambda: self.now_ns))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def milliseconds(job_id: str) -> int:
    return uuid.UUID(job_id).int >> 80


def test_format(clock: Clock) -> None:
    job_id = JobIds().new()
    parsed = uuid.UUID(job_id)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert job_id == str(parsed)
    assert milliseconds(job_id) == clock.now_ns // 1_000_000


def test_order_and_uniqueness_on_a_real_clock() -> None:
    job_ids = JobIds()
    made = [job_ids.new() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_order_within_a_millisecond(clock: Clock) -> None:
    job_ids = JobIds()
    made = [job_ids.new() for _ in range(10_000)]  # more than the 4,096 of rand_a: the millisecond carries
    assert made == sorted(set(made))
    assert milliseconds(made[0]) == clock.now_ns // 1_000_000


def test_the_clock_steps_back(clock: Clock) -> None:
    job_ids = JobIds()
    before = job_ids.new()
    clock.now_ns -= 3_600 * 10**9
    back = [job_ids.new() for _ in range(100)]
    clock.now_ns = NOW_NS + 10**9
    after = job_ids.new()
    made = [before, *back, after]
    assert made == sorted(set(made))
    assert milliseconds(after) == clock.now_ns // 1_000_000


def test_ids_of_two_processes_sort_within_a_millisecond(clock: Clock) -> None:
    first = JobIds().new()
    clock.now_ns += 1_000
    assert first < JobIds().new()


def test_two_generators_never_return_the_same_id(clock: Clock) -> None:
    assert clock.now_ns == NOW_NS
    assert JobIds().new() != JobIds().new()


def test_reserved_ids_are_skipped(clock: Clock) -> None:
    key = job_id.key_at(clock.now_ns)
    ids = JobIds(key)
    for reserved in (key - 5, key + 1, key + 2, key + 4):
        ids.reserve(JobIds(reserved - 1).new(0))
    assert [job_id.key_of(ids.new()) - key for _ in range(4)] == [3, 5, 6, 7]


def test_the_time_of_an_id_leads_back_to_its_key(clock: Clock) -> None:
    for step in range(5_000):
        new = JobIds().new(clock.now_ns + step)
        assert job_id.key_at(job_id.time_of(new)) == job_id.key_of(new)
