"""The time in the queue."""

from job_pods import job, pod
from jobworker_gateway.kubernetes.queue_timeouts import QueueTimeouts

LATE = job(retry_on_lost=True)
LATE.queue_timeout.FromSeconds(60)


class Clock:
    """The wall clock, from the creation of the jobs on."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_job_is_due_once_after_its_time_in_the_queue() -> None:
    clock = Clock()
    timeouts = QueueTimeouts(clock)
    for _ in range(2):
        timeouts.see(pod(LATE))
    assert timeouts.due() == []
    clock.now += 60
    assert [timeouts.due(), timeouts.due()] == [[LATE.id], []]


def test_a_job_that_has_a_node_is_not_due() -> None:
    timeouts = QueueTimeouts()
    timeouts.see(pod(LATE, node="node-1"))
    assert timeouts.due() == []


def test_a_job_that_starts_again_is_not_due() -> None:
    """A lost node, after the job has run for longer than its time in the queue."""
    timeouts = QueueTimeouts()
    timeouts.see(pod(LATE, attempt=2))
    assert timeouts.due() == []


def test_jobs_that_have_a_node_take_no_memory() -> None:
    clock = Clock()
    timeouts = QueueTimeouts(clock)
    for number in range(1, 1_000):
        each = job(number)
        each.queue_timeout.FromSeconds(60)
        timeouts.see(pod(each))
        if number > 1:
            timeouts.see(pod(each, node="node-1"))
    assert len(timeouts._ends) < 100
    clock.now += 60
    assert timeouts.due() == [job(1).id]
