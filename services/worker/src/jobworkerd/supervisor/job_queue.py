"""The queue of jobs that wait until the host has room. It decides which job starts next.

The order:

1. The job with the highest priority.
2. Among these, a job that `reserve` has put first.
3. Otherwise a job of the owner with the fewest running jobs.
4. Among these, the oldest job, which is the one with the smallest id.

Jobs of an owner that runs the maximum number of jobs are passed over.

The number of running jobs changes with each start and each end, so the order of waiting jobs can change.
Positions are those of the starts that would follow if no job ended.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

_SPARE_CANDIDATES = 64
"""Outdated candidates that a priority can have in addition to one per owner."""


class QueuedJob(NamedTuple):
    """The attributes of a waiting job that decide when it starts."""

    id: str
    owner: str
    priority: int
    max_cpu: int
    max_memory: int


class JobQueue:
    """The waiting jobs, and the number of running jobs of each owner.

    Adding, removing and finding the first job take logarithmic time in the number of owners. Removing and
    adding also move part of a list of ids, which is fast for any queue that fits into memory.
    """

    def __init__(self, max_running: int = 0) -> None:
        """`max_running` bounds the running jobs of each owner; 0 means not bounded."""
        self._max_running = max_running
        self._jobs: dict[str, QueuedJob] = {}
        self._running: Counter[str] = Counter()
        self._priorities: dict[int, _Priority] = {}
        self._order: Mapping[str, int] | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[str]:
        """Yield the ids of all jobs, in the order in which they were added."""
        return iter(self._jobs)

    def add(self, job: QueuedJob) -> None:
        """Add a waiting job. Jobs can be added in any order of their ids."""
        self._order = None
        self._jobs[job.id] = job
        if job.priority not in self._priorities:
            self._priorities[job.priority] = _Priority(self._running)
        self._priorities[job.priority].add(job)

    def remove(self, job_id: str) -> QueuedJob:
        """Remove a job, which has been started or does not wait any longer.

        Raises:
            KeyError: no waiting job has this id.
        """
        job = self._jobs.pop(job_id)
        self._order = None
        priority = self._priorities[job.priority]
        priority.remove(job)
        if not priority.ids:
            del self._priorities[job.priority]
        return job

    def started(self, owner: str) -> None:
        """Count a job of an owner as running, whether it was in the queue or not."""
        self._count(owner, 1)

    def ended(self, owner: str) -> None:
        """Count a job of an owner as ended."""
        self._count(owner, -1)
        if not self._running[owner]:
            del self._running[owner]

    def _count(self, owner: str, change: int) -> None:
        self._order = None
        self._running[owner] += change
        for priority in self._priorities.values():
            priority.recount(owner)

    def first(self) -> QueuedJob | None:
        """Return the job that starts next; None if no job waits, or if the owners of all run enough jobs."""
        for number in sorted(self._priorities, reverse=True):
            if job_id := self._priorities[number].first(self.is_blocked):
                return self._jobs[job_id]
        return None

    def is_blocked(self, owner: str) -> bool:
        """Return whether an owner runs the maximum number of jobs."""
        return 0 < self._max_running <= self._running[owner]

    def count_of(self, owner: str) -> int:
        """Return the number of waiting jobs of an owner."""
        return sum(len(priority.ids.get(owner, ())) for priority in self._priorities.values())

    def reserve(self, job_id: str) -> None:
        """Put a job before all others of its priority until it is removed.

        The first job can need more room than an ended job has left. Without a reservation, an owner with
        fewer running jobs could take each small room before enough of it is free.
        """
        self._order = None
        job = self._jobs[job_id]
        self._priorities[job.priority].reserved = job

    def positions(self, job_ids: Collection[str]) -> Mapping[str, int]:
        """Return the positions of waiting jobs; 1 is the job that starts next."""
        owners = sum(len(priority.ids) for priority in self._priorities.values())
        if self._order is None and len(job_ids) * owners <= len(self._jobs):
            return {job_id: self._position(self._jobs[job_id]) for job_id in job_ids}
        if self._order is None:
            self._order = {job_id: position for position, job_id in enumerate(self._in_order(), 1)}
        return self._order

    def _in_order(self) -> Iterator[str]:
        """Yield the ids of all jobs in the order of their starts."""
        running = self._running.copy()
        for number in sorted(self._priorities, reverse=True):
            priority = self._priorities[number]
            yield from priority.in_order(running)
            running.update({owner: len(ids) for owner, ids in priority.ids.items()})

    def _position(self, job: QueuedJob) -> int:
        running: Counter[str] = self._running.copy()
        before = 0
        for number, priority in self._priorities.items():
            if number > job.priority:
                before += priority.size
                running.update({owner: len(ids) for owner, ids in priority.ids.items()})
        return before + self._priorities[job.priority].count_before(job, running) + 1


class _Priority:
    """The waiting jobs of one priority.

    `_candidates` is a heap with an entry for the oldest job of each owner: the owner's running jobs, the id,
    the owner. Entries that no longer apply are removed when they are found.
    """

    def __init__(self, running: Mapping[str, int]) -> None:
        self.ids: dict[str, list[str]] = {}
        """The sorted ids of the jobs of each owner."""
        self.size = 0
        self.reserved: QueuedJob | None = None
        self._running = running
        self._candidates: list[tuple[int, str, str]] = []

    def add(self, job: QueuedJob) -> None:
        ids = self.ids.setdefault(job.owner, [])
        insort(ids, job.id)
        self.size += 1
        if ids[0] == job.id:
            self.recount(job.owner)

    def remove(self, job: QueuedJob) -> None:
        ids = self.ids[job.owner]
        index = bisect_left(ids, job.id)
        del ids[index]
        self.size -= 1
        if not ids:
            del self.ids[job.owner]
        elif not index:
            self.recount(job.owner)
        if self.reserved == job:
            self.reserved = None

    def recount(self, owner: str) -> None:
        """Add the candidate of an owner whose oldest job, or whose number of running jobs, has changed."""
        if owner not in self.ids:
            return
        if len(self._candidates) < 2 * len(self.ids) + _SPARE_CANDIDATES:
            heapq.heappush(self._candidates, self._candidate(owner))
        else:
            self._candidates = [self._candidate(each) for each in self.ids]
            heapq.heapify(self._candidates)

    def _candidate(self, owner: str) -> tuple[int, str, str]:
        return self._running.get(owner, 0), self.ids[owner][0], owner

    def first(self, is_blocked: Callable[[str], bool]) -> str:
        """Return the id of the job that starts next; empty if all owners are blocked. The queue is not
        empty.
        """
        if self.reserved and not is_blocked(self.reserved.owner):
            return self.reserved.id
        while not self._applies(self._candidates[0]):
            heapq.heappop(self._candidates)
        # The first candidate has the fewest running jobs. If its owner is blocked, all owners are.
        _, job_id, owner = self._candidates[0]
        return "" if is_blocked(owner) else job_id

    def _applies(self, candidate: tuple[int, str, str]) -> bool:
        owner = candidate[2]
        return owner in self.ids and candidate == self._candidate(owner)

    def in_order(self, running: Mapping[str, int]) -> Iterator[str]:
        """Yield the ids in the order of their starts if the owners have these numbers of running jobs.

        The n-th job of an owner starts when `n` more jobs of the owner run, so these numbers are sort keys.
        """
        reserved = self.reserved.id if self.reserved else ""
        keys = [
            (job_id != reserved, running.get(owner, 0) + index, job_id)
            for owner, ids in self.ids.items()
            for index, job_id in enumerate(ids)
        ]
        return (job_id for _, _, job_id in sorted(keys))

    def count_before(self, job: QueuedJob, running: Mapping[str, int]) -> int:
        """Return the position from 0 of a job in `in_order`, without sorting."""
        if job == self.reserved:
            return 0
        level = self._level(job, running)
        count = sum(
            bisect_left(ids, job.id, hi=min(index + 1, len(ids)), lo=min(index, len(ids)))
            for owner, ids in self.ids.items()
            if (index := level - running.get(owner, 0)) >= 0
        )
        if self.reserved and (level, job.id) < (self._level(self.reserved, running), self.reserved.id):
            count += 1
        return count

    def _level(self, job: QueuedJob, running: Mapping[str, int]) -> int:
        """Return how many jobs of the owner run when the job can start."""
        return running.get(job.owner, 0) + bisect_left(self.ids[job.owner], job.id)
