"""The jobs of the cluster that are not archived, in memory. Lists, watches and waits read it."""

import asyncio
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from jobworker.v1 import job_pb2
from jobworker_cluster.records import is_final


@dataclass(frozen=True)
class LiveJob:
    """The state of a job. Its messages are never modified: each change is a new LiveJob.

    `address` is the host and port of its node's server, empty while no node is chosen. `attempt_uid`
    differs between the attempts of a job. Of the jobs in the queue, those with a higher `rank` start first,
    then the older ones. `reserved` is what the cluster has reserved for the job, in percent of one core and
    in MiB: UpdateJob can have lowered its limits. The status is final only if the archive has the job.
    `queue_position` is not set: see JobTable.
    """

    job: job_pb2.Job
    attempt_uid: str = ""
    address: str = ""
    rank: int = 0
    reserved: tuple[int, int] = (0, 0)
    revision: int = 0

    @property
    def final(self) -> bool:
        """Whether the job has ended and is in the archive."""
        return is_final(self.job)


class JobTable:
    """The jobs by id, with a revision for each change.

    A job leaves the table some time after it is final. Its last state before that is the final one.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._jobs: dict[str, LiveJob] = {}
        self._ids: list[str] = []
        self._queue: list[tuple[int, str]] = []
        self._counts: Counter[tuple[str, job_pb2.JobStatus.ValueType]] = Counter()
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listeners: set[Callable[[LiveJob], None]] = set()
        self._removal_listeners: set[Callable[[LiveJob], None]] = set()

    def __len__(self) -> int:
        """Return the number of jobs."""
        return len(self._ids)

    @property
    def waiters(self) -> int:
        """Number of jobs for which a task waits."""
        return len(self._waiters)

    def get(self, job_id: str) -> LiveJob | None:
        """Return a job; None if the table does not have it."""
        return self._jobs.get(job_id)

    def newest(self, before: str = "") -> Iterator[LiveJob]:
        """Iterate over the jobs from the newest to the oldest, from the first one before an id.

        The table can change between two steps.
        """
        while number := bisect_left(self._ids, before) if before else len(self._ids):
            before = self._ids[number - 1]
            yield self._jobs[before]

    def count(self, owner: str, status: job_pb2.JobStatus.ValueType) -> int:
        """Return the number of jobs of an owner with a status."""
        return self._counts[owner, status]

    def by_status(self) -> Counter[job_pb2.JobStatus.ValueType]:
        """Return the numbers of jobs by status."""
        found: Counter[job_pb2.JobStatus.ValueType] = Counter()
        for (_, status), count in self._counts.items():
            found[status] += count
        return found

    def queue_position(self, job_id: str) -> int:
        """Return the position of a queued job, from 1, by rank and age; 0 if it is not queued."""
        live = self._jobs.get(job_id)
        if live is None or live.job.status != job_pb2.JOB_STATUS_QUEUED:
            return 0
        return bisect_left(self._queue, _queue_key(live)) + 1

    def listen(self, listener: Callable[[LiveJob], None]) -> None:
        """Call the listener with each new state of a job, until `unlisten`. It must not raise."""
        self._listeners.add(listener)

    def listen_to_removals(self, listener: Callable[[LiveJob], None]) -> None:
        """Call the listener with the last state of each job that leaves the table. It must not raise."""
        self._removal_listeners.add(listener)

    def unlisten(self, listener: Callable[[LiveJob], None]) -> None:
        """End the calls."""
        self._listeners.discard(listener)

    async def changed(self, job_id: str, revision: int) -> LiveJob | None:
        """Wait until a job has another state than the one with this revision, and return it.

        None: the table does not have the job. Look in the archive then.
        """
        while (live := self._jobs.get(job_id)) and live.revision == revision:
            event = asyncio.Event()
            self._waiters[job_id].add(event)
            try:
                await event.wait()
            finally:
                self._forget_waiter(job_id, event)
        return live

    def put(self, live: LiveJob) -> LiveJob:
        """Store the new state of a job, and return it with its revision. Only the engine calls this."""
        job_id = live.job.id
        former = self._jobs.get(job_id)
        self.revision += 1
        live = replace(live, revision=self.revision)
        if former:
            self._uncount(former)
        else:
            insort(self._ids, job_id)
        self._jobs[job_id] = live
        self._count(live)
        self._wake(job_id)
        for listener in tuple(self._listeners):
            listener(live)
        return live

    def remove(self, job_id: str) -> None:
        """Remove a job that has left the cluster. Only the engine calls this."""
        if former := self._jobs.pop(job_id, None):
            del self._ids[bisect_left(self._ids, job_id)]
            self._uncount(former)
            self._wake(job_id)
            for listener in tuple(self._removal_listeners):
                listener(former)

    def _count(self, live: LiveJob) -> None:
        self._counts[live.job.owner, live.job.status] += 1
        if live.job.status == job_pb2.JOB_STATUS_QUEUED:
            insort(self._queue, _queue_key(live))

    def _uncount(self, live: LiveJob) -> None:
        key = live.job.owner, live.job.status
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
        if live.job.status == job_pb2.JOB_STATUS_QUEUED:
            del self._queue[bisect_left(self._queue, _queue_key(live))]

    def _wake(self, job_id: str) -> None:
        for event in self._waiters.get(job_id, ()):
            event.set()

    def _forget_waiter(self, job_id: str, event: asyncio.Event) -> None:
        waiters = self._waiters[job_id]
        waiters.discard(event)
        if not waiters:
            del self._waiters[job_id]


def _queue_key(live: LiveJob) -> tuple[int, str]:
    """Return a key in the order in which jobs start: by rank, then by age."""
    return -live.rank, live.job.id
