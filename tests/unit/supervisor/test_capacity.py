"""Admission by the number of jobs, their CPU limits and their memory limits."""

import pytest

from jobworkerd.config import CapacityConfig
from jobworkerd.supervisor.capacity import Capacity


def test_a_job_waits_for_a_slot() -> None:
    capacity = Capacity(max_jobs=2, cpu=0, memory=0)
    capacity.take("one", 10, 1)
    assert not capacity.shortage(10, 1)
    capacity.take("two", 10, 1)

    assert capacity.shortage(10, 1) == "2 jobs are running, which is the maximum (max_jobs)"
    assert not capacity.has_slot


@pytest.mark.parametrize(
    ("cpu", "memory", "shortage"),
    [
        (0, 0, ""),
        (200, 600, ""),
        (199, 0, "100 % of CPU needed, 99 of 199 available (capacity.cpu)"),
        (0, 599, "300 MiB of memory needed, 299 of 599 available (capacity.memory)"),
    ],
)
def test_the_sum_of_the_limits_stays_within_the_capacity(cpu: int, memory: int, shortage: str) -> None:
    capacity = Capacity(max_jobs=5, cpu=cpu, memory=memory)
    capacity.take("one", 100, 300)

    assert capacity.shortage(100, 300) == shortage


def test_a_job_that_has_ended_makes_room() -> None:
    capacity = Capacity(max_jobs=1, cpu=100, memory=100)
    capacity.take("one", 100, 100)
    capacity.release("one")
    capacity.release("one")

    assert not capacity.shortage(100, 100)


def test_updated_limits_replace_the_old_ones() -> None:
    capacity = Capacity(max_jobs=3, cpu=100, memory=0)
    capacity.take("one", 90, 1)
    capacity.take("one", 50, 1)

    assert not capacity.shortage(50, 1)
    assert capacity.shortage(51, 1)


def test_nothing_is_available_while_limits_exceed_the_capacity() -> None:
    capacity = Capacity(max_jobs=3, cpu=100, memory=0)
    capacity.take("one", 150, 1)

    assert capacity.shortage(10, 1) == "10 % of CPU needed, 0 of 100 available (capacity.cpu)"


def test_a_job_above_the_whole_capacity_can_never_start() -> None:
    capacity = CapacityConfig(cpu=400, memory=1_024)

    assert not capacity.excess(400, 1_024)
    assert not CapacityConfig().excess(100_000, 16_777_216)
    assert capacity.excess(401, 2_000) == {
        "max_cpu": "401 is above capacity.cpu of the server; use at most 400",
        "max_memory": "2000 is above capacity.memory of the server; use at most 1024",
    }
