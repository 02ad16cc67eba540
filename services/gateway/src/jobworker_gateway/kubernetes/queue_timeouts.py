"""The jobs that may be in the queue for a limited time."""

import heapq
from collections.abc import Callable, Mapping

from jobworker_cluster.pods import JobPod

_SLACK = 64
"""Entries of jobs that have left the queue, kept to avoid a copy of the heap for each of them."""


def is_limited(pod: JobPod) -> bool:
    """Return whether a job is in the queue for a limited time.

    A job that starts again has left the queue in time.
    """
    is_over = pod.node or pod.deleted or pod.stopped_by or pod.queue_timed_out
    return pod.attempt == 1 and not is_over and pod.initial.HasField("queue_timeout")


class QueueTimeouts:
    """Finds the jobs that have reached their `queue_timeout`, by one clock for all gateways.

    A gateway whose own clock is wrong must not end the jobs of others.
    """

    def __init__(self, pods: Mapping[str, JobPod], clock: Callable[[], float]) -> None:
        """`pods` are the Pods of all jobs by id, as they are at each call. `clock` is a wall clock."""
        self._pods = pods
        self._clock = clock
        self._ends: list[tuple[float, str]] = []
        self._known: set[str] = set()

    def see(self, pod: JobPod) -> None:
        """Note a Pod, which may be known already."""
        if is_limited(pod) and pod.job_id not in self._known:
            job = pod.initial
            end = (job.create_time.ToNanoseconds() + job.queue_timeout.ToNanoseconds()) / 1e9
            self._known.add(pod.job_id)
            heapq.heappush(self._ends, (end, pod.job_id))

    def due(self) -> list[str]:
        """Return the jobs whose time in the queue is over."""
        found = []
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, job_id = heapq.heappop(self._ends)
            self._known.discard(job_id)
            if self._is_limited(job_id):
                found.append(job_id)
        self._forget_others()
        return found

    def _is_limited(self, job_id: str) -> bool:
        pod = self._pods.get(job_id)
        return pod is not None and is_limited(pod)

    def _forget_others(self) -> None:
        """Forget the jobs that have left the queue, whatever the reason, if they are the most."""
        if len(self._ends) > 2 * len(self._pods) + _SLACK:
            self._ends = [each for each in self._ends if self._is_limited(each[1])]
            self._known = {job_id for _, job_id in self._ends}
            heapq.heapify(self._ends)
