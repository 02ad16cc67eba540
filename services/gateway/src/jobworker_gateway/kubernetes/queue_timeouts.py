"""The jobs that may be in the queue for a limited time."""

import heapq
import time
from collections.abc import Callable

from jobworker_cluster.pods import JobPod

_SLACK = 64
"""Entries of jobs that have left the queue, kept to avoid a copy of the heap for each of them."""


class QueueTimeouts:
    """Finds the jobs that have reached their `queue_timeout`, by the clock of this gateway."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ends: list[tuple[float, str]] = []
        self._known: set[str] = set()

    def see(self, pod: JobPod) -> None:
        """Note a Pod, which may be known already. A job that starts again has left the queue in time."""
        if pod.node:
            self._forget(pod.job_id)
            return
        job = pod.initial
        if pod.attempt == 1 and job.HasField("queue_timeout") and pod.job_id not in self._known:
            self._known.add(pod.job_id)
            end = (job.create_time.ToNanoseconds() + job.queue_timeout.ToNanoseconds()) / 1e9
            heapq.heappush(self._ends, (end, pod.job_id))

    def due(self) -> list[str]:
        """Return the jobs whose time in the queue is over. Some of them may have left it."""
        found = []
        now = self._clock()
        while self._ends and self._ends[0][0] <= now:
            _, job_id = heapq.heappop(self._ends)
            if job_id in self._known:
                self._known.discard(job_id)
                found.append(job_id)
        return found

    def _forget(self, job_id: str) -> None:
        self._known.discard(job_id)
        if len(self._ends) > 2 * len(self._known) + _SLACK:
            self._ends = [each for each in self._ends if each[1] in self._known]
            heapq.heapify(self._ends)
