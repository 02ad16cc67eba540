"""Admission: which jobs run, and which wait in the queue."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from jobworkerd.config import Config
from jobworkerd.errors import QuotaExceeded, TooManyJobs
from jobworkerd.model import Job, JobSpec
from jobworkerd.supervisor.capacity import Capacity
from jobworkerd.supervisor.job_queue import JobQueue, QueuedJob

_START_SECONDS = 10.0
"""The next job starts when the start before it has finished, or after this time if the start takes longer."""

_RETRY_SECONDS = 1.0
"""Delay before the next start after the host was exhausted."""


_RUNNING = "quota.admin.running_jobs"
_QUEUED = "quota.admin.queued_jobs"
_REMEDY = "retry when a job has ended, or set queue_timeout to let the job wait"


class Waiting(NamedTuple):
    """A job that waits until a time of the event loop."""

    job: QueuedJob
    deadline: float


class Admission:
    """The owner of the queue, and of what running jobs take of the capacity.

    Waiting jobs start one after another, so that their start times have the order of the queue.
    """

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        start: Callable[[Waiting], Coroutine[None, None, None]],
        refuse: Callable[[str, str], Coroutine[None, None, None]],
        time_out: Callable[[str], Coroutine[None, None, None]],
    ) -> None:
        """Three functions get a job that has left the queue.

        `start` starts it. `refuse` gets its id and the reason why it can never start. `time_out` gets its id
        at the end of the time that it could wait.
        """
        self._max_queued = config.max_queued
        self._loop = loop
        self._start, self._refuse, self._time_out = start, refuse, time_out
        self._bounds = config.capacity
        self._capacity = Capacity(config.max_jobs, config.capacity.cpu, config.capacity.memory)
        self._quota = config.quota.admin
        self._queue = JobQueue(self._quota.running_jobs)
        self._owners: dict[str, str] = {}
        self._waiting: dict[str, tuple[Waiting, asyncio.TimerHandle]] = {}
        self._arriving: Counter[str] = Counter()
        self._exhausted = ""
        self._retry: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __contains__(self, job_id: str) -> bool:
        """Return whether a job waits."""
        return job_id in self._queue

    def __len__(self) -> int:
        """Return the number of waiting jobs."""
        return len(self._queue)

    def must_wait(self, spec: JobSpec) -> bool:
        """Return whether a new job waits because there is no room for it, or because other jobs wait.

        Raises:
            QuotaExceeded: its owner runs the maximum number of jobs, and the job has no `queue_timeout`.
            TooManyJobs: the job would have to wait, but has no `queue_timeout`.
        """
        is_blocked = self._queue.is_blocked(spec.owner)
        why = self._shortage(spec)
        if spec.queue_timeout is not None:
            return is_blocked or bool(why)
        if is_blocked:
            raise self._quota_exceeded(_RUNNING, self._quota.running_jobs, "running", _REMEDY)
        if why:
            raise TooManyJobs(why, _REMEDY)
        return False

    def require_room(self, spec: JobSpec) -> None:
        """Check that a job of the cluster can start now. The bounds on each client do not apply to it.

        Raises:
            TooManyJobs: there is no room for it, or other jobs wait for the room.
        """
        if why := self._shortage(spec):
            raise TooManyJobs(why, "retry when a job has ended")

    def _shortage(self, spec: JobSpec) -> str:
        if self._is_waited_for():
            return f"{_jobs(self._count())} in the queue"
        return self._capacity.shortage(spec.limits.max_cpu, spec.limits.max_memory)

    def _is_waited_for(self) -> bool:
        """Return whether the next room is for a job that waits."""
        blocked = map(self._queue.is_blocked, self._arriving)
        return self._queue.first() is not None or not all(blocked)

    def _count(self) -> int:
        return len(self._queue) + self._arriving.total()

    def _quota_exceeded(self, quota: str, limit: int, state: str, remedy: str) -> QuotaExceeded:
        why = f"{limit} {'job is' if limit == 1 else 'jobs are'} {state}"
        return QuotaExceeded(quota, limit, why, remedy)

    def take(self, job: Job) -> None:
        """Count a job as running; do nothing if it has waited and therefore counts already."""
        if job.id not in self._owners:
            spec = job.spec
            # The gateway bounds the jobs of each client in the whole cluster. They do not count here.
            owner = "" if spec.node else spec.owner
            self._take(job.id, owner, spec.limits.max_cpu, spec.limits.max_memory)

    def _take(self, job_id: str, owner: str, max_cpu: int, max_memory: int) -> None:
        self._capacity.take(job_id, max_cpu, max_memory)
        self._owners[job_id] = owner
        self._queue.started(owner)

    def change_limits(self, job: Job) -> None:
        """Count the new limits of a running job."""
        self._capacity.take(job.id, job.spec.limits.max_cpu, job.spec.limits.max_memory)
        self.start_next()

    def release(self, job_id: str) -> None:
        """Count a job as ended, if it counts as running, and start the next jobs."""
        if (owner := self._owners.pop(job_id, None)) is not None:
            self._capacity.release(job_id)
            self._queue.ended(owner)
            self.start_next()

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Keep a place in the queue for a job that is being stored.

        Raises:
            QuotaExceeded: the maximum number of jobs of the owner wait.
            TooManyJobs: the queue is full.
        """
        if 0 < self._quota.queued_jobs <= self._queue.count_of(owner) + self._arriving[owner]:
            remedy = "retry when one of them has started"
            raise self._quota_exceeded(_QUEUED, self._quota.queued_jobs, "in the queue", remedy)
        if (count := self._count()) >= self._max_queued:
            why = f"{_jobs(count)} in the queue, which is the maximum (max_queued)"
            raise TooManyJobs(why, "retry when jobs have started")
        self._arriving[owner] += 1
        try:
            yield
        finally:
            self._arriving -= Counter((owner,))  # also removes owners with 0

    def add(self, job: Job, wait_seconds: float) -> None:
        """Add a stored job, which can wait for some seconds."""
        spec = job.spec
        queued = QueuedJob(job.id, spec.owner, spec.priority, spec.limits.max_cpu, spec.limits.max_memory)
        self._add(Waiting(queued, self._loop.time() + wait_seconds))

    def _add(self, waiting: Waiting) -> None:
        job_id = waiting.job.id
        self._queue.add(waiting.job)
        timer = self._loop.call_at(waiting.deadline, self._expire, job_id)
        self._waiting[job_id] = (waiting, timer)
        if self._closed:
            timer.cancel()
        self.start_next()

    def _expire(self, job_id: str) -> None:
        self.remove(job_id)
        self._run(self._time_out(job_id))

    def remove(self, job_id: str) -> None:
        """Remove a waiting job, and start the next jobs."""
        self._leave(job_id)
        self.start_next()

    def _leave(self, job_id: str) -> Waiting:
        self._queue.remove(job_id)
        waiting, timer = self._waiting.pop(job_id)
        timer.cancel()
        return waiting

    def put_back(self, waiting: Waiting, why: str) -> None:
        """Let a job wait again because the host was exhausted at its start. It stays the next one."""
        self.release(waiting.job.id)
        self._exhausted = why
        self._add(waiting)
        self._queue.reserve(waiting.job.id)
        if self._closed:
            return
        if self._retry:
            self._retry.cancel()
        self._retry = self._loop.call_later(_RETRY_SECONDS, self._recover)

    def _recover(self) -> None:
        self._exhausted = ""
        self.start_next()

    def start_next(self) -> None:
        """Start waiting jobs while there is room, after the current step."""
        if not (self._closed or self._starting or self._exhausted) and self._queue:
            self._starting = self._run(self._start_jobs())

    async def _start_jobs(self) -> None:
        try:
            while waiting := await self._next():
                await asyncio.wait([self._run(self._start(waiting))], timeout=_START_SECONDS)
        finally:
            self._starting = None

    async def _next(self) -> Waiting | None:
        """Return the next job, which leaves the queue and counts as running; None if none can start."""
        while (job := self._queue.first()) and not self._closed and not self._exhausted:
            if self._waiting[job.id][0].deadline <= self._loop.time():
                self._expire(job.id)
            elif excess := self._bounds.excess(job.max_cpu, job.max_memory):
                self._leave(job.id)
                await self._refuse(job.id, "; ".join(f"{name}: {why}" for name, why in excess.items()))
            elif self._capacity.shortage(job.max_cpu, job.max_memory):
                if self._capacity.has_slot:
                    self._queue.reserve(job.id)
                return None
            else:
                waiting = self._leave(job.id)
                self._take(job.id, job.owner, job.max_cpu, job.max_memory)
                return waiting
        return None

    def annotate(self, jobs: Iterable[Job]) -> list[Job]:
        """Return jobs, and tell the waiting ones their positions and the reason of the wait."""
        found = list(jobs)
        waiting = [job.id for job in found if job.id in self._queue]
        if not waiting:
            return found
        positions, first = self._queue.positions(waiting), self._reason()
        return [
            replace(
                job,
                queue_position=positions[job.id],
                queue_reason=self._blocked_reason(job.spec.owner) or _reason(positions[job.id], first),
            )
            if job.id in self._queue
            else job
            for job in found
        ]

    def _reason(self) -> str:
        """Return why the first job waits that can start."""
        if not (first := self._queue.first()):
            return ""
        shortage = self._exhausted or self._capacity.shortage(first.max_cpu, first.max_memory)
        return shortage or "it starts in a moment"

    def _blocked_reason(self, owner: str) -> str:
        """Return why no job of an owner can start; empty if one can."""
        if not self._queue.is_blocked(owner):
            return ""
        count = self._quota.running_jobs
        are = "job of its owner is" if count == 1 else "jobs of its owner are"
        return f"{count} {are} running, which is the maximum of one client ({_RUNNING})"

    def close(self) -> None:
        """Start no more jobs. Waiting jobs stay in the records."""
        self._closed = True
        for _, timer in self._waiting.values():
            timer.cancel()
        if self._retry:
            self._retry.cancel()

    def _run(self, step: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _jobs(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"


def _reason(position: int, first: str) -> str:
    if position == 1:
        return first
    ahead = "1 job is" if position == 2 else f"{position - 1} jobs are"
    return f"{ahead} ahead; {first}"
