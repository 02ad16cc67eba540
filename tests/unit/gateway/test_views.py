"""Tests of what clients see of a Pod."""

import dataclasses

import pytest

from job_pods import job, pod
from jobworker_gateway.kubernetes.views import job_of

_NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu."


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "waits for the scheduler of the cluster"),
        (_NO_ROOM, _NO_ROOM),
        (f"{_NO_ROOM} preemption: not eligible due to preemptionPolicy=Never.", _NO_ROOM),
        (f"{_NO_ROOM} preemption: 0/3 nodes are available: 3 No preemption victims found.",) * 2,
    ],
)
def test_the_reason_of_the_wait_is_that_of_the_scheduler(message: str, reason: str) -> None:
    waiting = dataclasses.replace(pod(job()), waits_for=message)
    assert job_of(waiting).queue_reason == reason
