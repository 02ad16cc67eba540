"""The time in the queue."""

from collections.abc import Callable
from typing import Any

import pytest

from job_pods import job, pod
from jobworker_cluster.pods import JobPod
from jobworker_gateway.kubernetes.queue_timeouts import QueueTimeouts

LATE = job(retry_on_lost=True)
LATE.queue_timeout.FromSeconds(60)


class Queue:
    """Pods, and the wall clock from the creation of the jobs on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.pods: dict[str, JobPod] = {}
        self.timeouts = QueueTimeouts(self.pods, lambda: self.now)

    def put(self, changed: JobPod) -> None:
        self.pods[changed.job_id] = changed
        self.timeouts.see(changed)


def test_a_job_is_due_once_after_its_time_in_the_queue() -> None:
    queue = Queue()
    for _ in range(2):
        queue.put(pod(LATE))
    assert queue.timeouts.due() == []
    queue.now += 60
    assert [queue.timeouts.due(), queue.timeouts.due()] == [[LATE.id], []]


@pytest.mark.parametrize(
    "fields",
    [{"node": "node-1"}, {"attempt": 2}, {"deleted": True}, {"stopped_by": "CN=bob"}],
)
@pytest.mark.parametrize("has_waited", [False, True])
def test_a_job_that_has_left_the_queue_is_not_due(fields: dict[str, Any], *, has_waited: bool) -> None:
    """A job of a second attempt can have waited, run and lost its node without an event at this gateway."""
    queue = Queue()
    if has_waited:
        queue.put(pod(LATE))
    queue.put(pod(LATE, **fields))
    queue.now += 60
    assert queue.timeouts.due() == []


def _start(queue: Queue, waiting: JobPod) -> None:
    queue.put(pod(waiting.initial, node="node-1"))


def _remove(queue: Queue, waiting: JobPod) -> None:
    del queue.pods[waiting.job_id]


def _stop_and_remove(queue: Queue, waiting: JobPod) -> None:
    queue.put(pod(waiting.initial, stopped_by="CN=bob"))
    queue.put(pod(waiting.initial, stopped_by="CN=bob", deleted=True))
    del queue.pods[waiting.job_id]


@pytest.mark.parametrize("leave", [_start, _remove, _stop_and_remove])
def test_jobs_that_have_left_the_queue_take_no_memory(leave: Callable[[Queue, JobPod], None]) -> None:
    queue = Queue()
    for number in range(1, 1_000):
        each = job(number)
        each.queue_timeout.FromSeconds(60)
        queue.put(pod(each))
        if number > 1:
            leave(queue, queue.pods[each.id])
            queue.pods.pop(each.id, None)  # it ends long before its time in the queue
    queue.timeouts.due()
    assert len(queue.timeouts._ends) < 100
    queue.now += 60
    assert queue.timeouts.due() == [job(1).id]
