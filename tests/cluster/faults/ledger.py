"""The jobs of the fault schedule as its clients saw them, and the violations that they found."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from jobworker.v1 import job_pb2
from tests.cluster.faults.plan import JobPlan

KNOWN_SECONDS = 15.0
"""A gateway lists a job that another one has accepted within this time. It lists final jobs at once."""

FINAL = {
    job_pb2.JOB_STATUS_COMPLETED,
    job_pb2.JOB_STATUS_FAILED,
    job_pb2.JOB_STATUS_STOPPED,
    job_pb2.JOB_STATUS_LOST,
}


@dataclass
class Entry:
    """One job. `final` is the first final record that a call returned. Times are monotonic.

    `streamed` is the output that its follower has received; None = no client has followed it.

    `shown_by` has the gateways that have returned the job, and the time of the first answer of each.
    """

    plan: JobPlan
    job_id: str = ""
    final: job_pb2.Job | None = None
    final_at: float = 0.0
    accepted_at: float = 0.0
    streamed: bytearray | None = None
    shown_by: dict[int, float] = field(default_factory=dict)

    def is_known(self, gateway: int, now: float) -> bool:
        """Return whether a list that a gateway began at this time must have the job.

        A gateway that has shown a job does not forget it, even if it has ended meanwhile.
        """
        shown = self.shown_by.get(gateway, now)
        final = self.final is not None and self.final_at < now
        return final or shown < now or self.accepted_at < now - KNOWN_SECONDS


@dataclass(frozen=True)
class Absence:
    """A time in which a host was cut off, or had no power. The times are in seconds since 1970."""

    host: str
    begin: float
    end: float
    had_power: bool


class Ledger:
    """The jobs by id, the counts, and the violations."""

    def __init__(self, seed: int, journal: Path) -> None:
        """`journal` is a file for the faults and the violations with their times."""
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.jobs: dict[str, Entry] = {}
        self.violations: list[str] = []
        self.absences: list[Absence] = []
        self._journal: TextIO = journal.open("w", buffering=1)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def note(self, text: str) -> None:
        """Write a line with the time to the journal."""
        self._journal.write(f"{time.time():.3f} {text}\n")

    def violation(self, what: str, entry: Entry | None = None, detail: object = "") -> None:
        """Record a broken promise with all that is necessary to find the job again."""
        job = f" {entry.plan.request_id} job_id={entry.job_id}" if entry else ""
        text = f"violation: {what}: seed={self.seed}{job} {detail}"
        self.violations.append(text)
        self.note(text)

    def accept(self, entry: Entry, job: job_pb2.Job) -> None:
        """Record that a create succeeded."""
        if entry.job_id and entry.job_id != job.id:
            self.violation("a request id started two jobs", entry, f"also {job.id}")
        entry.job_id, entry.accepted_at = job.id, time.monotonic()
        self.jobs[job.id] = entry
        self.counts["accepted"] += 1
        self.note(f"accepted {entry.plan.request_id} as {job.id}")

    def observe(self, job: job_pb2.Job, since: float) -> None:
        """Compare a record, from a call that began at a monotonic time, with the final record of the job."""
        entry = self.jobs[job.id]
        if job.status in FINAL and entry.final is None:
            entry.final, entry.final_at = job, time.monotonic()
            self.counts[job_pb2.JobStatus.Name(job.status)] += 1
            self.note(f"{entry.plan.request_id} is {_outcome(job)}")
        elif job.status in FINAL and entry.final and job != entry.final:
            self.violation("two final states", entry, _difference(entry.final, job))
            entry.final = job  # each later call with the same record would report it again
        elif job.status not in FINAL and entry.final and entry.final_at < since:
            status = job_pb2.JobStatus.Name(job.status)
            self.violation("a final job is not final", entry, f"{_outcome(entry.final)}, then {status}")

    def shown(self, entry: Entry, gateway: int) -> None:
        """Record that a gateway has returned a job."""
        entry.shown_by.setdefault(gateway, time.monotonic())

    def compare_list(self, gateway: int, since: float, listed: Mapping[str, job_pb2.Job]) -> None:
        """Check a complete list, which a gateway began at a monotonic time."""
        expected = [each for each in self.jobs.values() if each.is_known(gateway, since)]
        for job in listed.values():
            if entry := self.jobs.get(job.id):  # None between its start and the answer to its client
                self.observe(job, since)
                self.shown(entry, gateway)
        for entry in expected:
            if entry.job_id not in listed:
                self.not_found(entry, f"ListJobs at gateway {gateway}")
        self.counts["complete lists"] += 1

    def stopped(self, job: job_pb2.Job, since: float) -> None:
        """Compare the answer of a StopJob, which is final, with what the client has seen."""
        self.counts["stopped by clients"] += 1
        if job.status not in FINAL:
            self.violation("a stop was acknowledged before the end", self.jobs[job.id])
        self.observe(job, since)

    def not_found(self, entry: Entry, where: str) -> None:
        """Record that a gateway did not find a job that it must have."""
        self.violation("an accepted job is not found", entry, where)

    def unfinished(self) -> list[Entry]:
        """Return the jobs without a final record."""
        return [entry for entry in self.jobs.values() if entry.final is None]


def _outcome(job: job_pb2.Job) -> str:
    """Return the facts about the end of a job that can never change."""
    status = job_pb2.JobStatus.Name(job.status).removeprefix("JOB_STATUS_")
    reason = job_pb2.TerminationReason.Name(job.termination.reason).removeprefix("TERMINATION_REASON_")
    end = job.end_time.ToJsonString()
    return f"{status} {reason} exit_code={job.exit_code} node={job.node} attempt={job.attempt} end={end}"


def _difference(first: job_pb2.Job, second: job_pb2.Job) -> str:
    """Return the fields of two records that differ, with both values."""
    names = [each.name for each in job_pb2.Job.DESCRIPTOR.fields]
    pairs = [(name, getattr(first, name), getattr(second, name)) for name in names]
    found = [f"{name}={one!s}, then {other!s}" for name, one, other in pairs if one != other]
    return "; ".join(found).replace("\n", " ")
