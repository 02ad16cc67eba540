"""The order in which waiting jobs start, as far as clients can know it.

All times are wall-clock nanoseconds of this host. A client knows that a job waits at two moments: when a call
that returned it as queued ends, and when a later such call begins. Nothing is said about other moments, so a
restart of the supervisor, which can delay a start time, is never mistaken for a wrong order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.soak.faults.ledger import Entry, Ledger

_RELEASED_NS = 5_000_000_000
"""An ended job can still count as running for this long, until a client sees its end."""


@dataclass(frozen=True)
class QueueTimes:
    """The times of one job that clients know. 0 = not known; `end` is 0 while the job has not ended.

    A client saw the end at `end_seen` at the latest.
    """

    id: str
    owner: str
    priority: int
    waits: bool
    create: int
    start: int = 0
    end: int = 0
    end_seen: int = 0
    queued_from: int = 0
    queued_until: int = 0

    @property
    def not_started(self) -> int:
        """The last moment at which the job had certainly not left the queue, or was not created yet."""
        return max(self.create, self.queued_until)

    @property
    def released(self) -> float:
        """The first moment at which the job certainly did not count as running any more."""
        latest = self.end + _RELEASED_NS if self.end else float("inf")
        return min(latest, self.end_seen or latest)


def wrong_starts(jobs: Sequence[QueueTimes]) -> Iterator[tuple[QueueTimes, QueueTimes, str]]:
    """Yield each pair of a job that started too early and the job that should have started before it."""
    waiting = [job for job in jobs if job.queued_from < job.queued_until]
    for early in jobs:
        if not early.start:
            continue
        for late in waiting:
            if late is not early and _both_wait(late, early) and (why := _goes_first(late, early, jobs)):
                yield early, late, why


def _both_wait(late: QueueTimes, early: QueueTimes) -> bool:
    """Return whether `late` waited before `early` could start, and still waited after that start."""
    return late.queued_from < early.not_started and early.start < late.queued_until


def _goes_first(late: QueueTimes, early: QueueTimes, jobs: Sequence[QueueTimes]) -> str:
    """Return why `late` should have started before `early`, or an empty text."""
    if not early.waits:
        return "a job without queue_timeout passed the queue"
    if late.priority != early.priority:
        return "its priority is higher" if late.priority > early.priority else ""
    if late.owner == early.owner:
        return "it is older" if late.id < early.id else ""
    least, most = _least_running(early, jobs), _most_running(late.owner, early, jobs)
    return f"its owner had at most {most} running jobs, the other at least {least}" if least > most else ""


def _least_running(early: QueueTimes, jobs: Sequence[QueueTimes]) -> int:
    """Return how many jobs of the owner certainly ran while `early` left the queue."""
    own = (job for job in jobs if job.owner == early.owner and job is not early and job.start)
    return sum(1 for job in own if job.start < early.not_started and (not job.end or job.end > early.start))


def _most_running(owner: str, early: QueueTimes, jobs: Sequence[QueueTimes]) -> int:
    """Return how many jobs of an owner can have counted as running while `early` left the queue."""
    begin, end = early.not_started, early.start
    return sum(
        1
        for job in jobs
        if job.owner == owner
        and job.create < end
        and not job.queued_from < begin < end < job.queued_until
        and job.released > begin
    )


def check_queue(ledger: Ledger) -> None:
    """Check the order in which jobs left the queue.

    On a full disk, a job that could not start is the first of its priority when there is space again.
    """
    jobs = [_times(entry) for entry in ledger.by_id.values() if entry.create_time_ns]
    ledger.counts["waits seen"] = sum(job.queued_from < job.queued_until for job in jobs)
    for early, late, why in wrong_starts(jobs):
        if not ledger.was_full(early.create / 1e9, early.start / 1e9, wall=True):
            ledger.violation("a job started out of turn", ledger.by_id[early.id], f"before {late.id}: {why}")


def _times(entry: Entry) -> QueueTimes:
    return QueueTimes(
        entry.job_id,
        entry.owner,
        entry.plan.priority,
        waits=entry.plan.queue_timeout is not None,
        create=entry.create_time_ns,
        start=entry.start_time_ns,
        end=entry.final.end_time.ToNanoseconds() if entry.final else 0,
        end_seen=entry.final_seen_ns,
        queued_from=entry.queued_from_ns,
        queued_until=entry.queued_until_ns,
    )
