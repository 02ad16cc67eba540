"""Everything that the clients learned about their jobs, and the violations that they found."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from jobworker.v1 import job_pb2
from tests.soak.faults.job_log import JobLog
from tests.soak.faults.plan import JobPlan

FINAL = {
    job_pb2.JOB_STATUS_COMPLETED,
    job_pb2.JOB_STATUS_FAILED,
    job_pb2.JOB_STATUS_STOPPED,
    job_pb2.JOB_STATUS_LOST,
}


@dataclass
class Entry:
    """One job. Times are monotonic seconds; None = not yet.

    From `queued_from_ns` to `queued_until_ns`, on the wall clock, the job waited in the queue for sure.
    `max_cpu` has the limits that an update may have set: more than one only if the outcome is not known.
    """

    plan: JobPlan
    job_id: str = ""
    acknowledged_at: float | None = None
    refused: bool = False
    ambiguous: bool = False
    stop_requested: bool = False
    delete_requested: bool = False
    deleted_at: float | None = None
    final: job_pb2.Job | None = None
    final_at: float | None = None
    final_seen_ns: int = 0
    owner: str = ""
    create_time_ns: int = 0
    start_time_ns: int = 0
    queued_from_ns: int = 0
    queued_until_ns: int = 0
    max_cpu: set[int] = field(default_factory=set)
    max_cpu_at: float = 0.0
    updating: bool = False
    log: JobLog | None = field(default_factory=JobLog)
    checked: bool = False

    @property
    def exists(self) -> bool:
        """Whether the server has the job for sure."""
        return self.acknowledged_at is not None and not self.delete_requested


@dataclass
class Window:
    """The time in which the disk was full, in seconds on both clocks; `end` is infinite while it is full."""

    start: float
    start_wall: float
    end: float = float("inf")
    end_wall: float = float("inf")


class NoRecovery(Exception):
    """The server does not answer any more, so the run ends."""


class Ledger:
    """The jobs by request id and by id, the counts, and the violations."""

    def __init__(self, seed: int, journal: Path) -> None:
        """`journal` is a file for the violations and the faults with their times."""
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.entries: dict[str, Entry] = {}
        self.by_id: dict[str, Entry] = {}
        self.live: dict[str, Entry] = {}
        self.ended: dict[str, Entry] = {}
        self.violations: list[str] = []
        self.windows: list[Window] = []
        self.recoveries: dict[str, list[float]] = {}
        self._journal: TextIO = journal.open("w", buffering=1)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def note(self, text: str) -> None:
        """Write a line with the time to the journal."""
        self._journal.write(f"{time.time():.3f} {text}\n")

    def violation(self, what: str, entry: Entry | None = None, detail: object = "") -> None:
        """Record a broken promise with all that is necessary to find the job again."""
        job = f" {entry.plan.request_id} job_id={entry.job_id} kind={entry.plan.kind}" if entry else ""
        text = f"violation: {what}: seed={self.seed}{job} {detail}"
        self.violations.append(text)
        self.note(text)

    def acknowledge(self, entry: Entry, job_id: str) -> None:
        """Record that a create succeeded."""
        if entry.job_id and entry.job_id != job_id:
            self.violation("a request id started two jobs", entry, f"also {job_id}")
        entry.job_id, entry.acknowledged_at = job_id, time.monotonic()
        self.by_id[job_id] = entry
        (self.live if entry.final is None else self.ended)[job_id] = entry
        self.counts["jobs"] += 1

    def end(self, entry: Entry, final: job_pb2.Job) -> None:
        """Record the first final record that a call returned."""
        entry.final, entry.final_at, entry.final_seen_ns = final, time.monotonic(), time.time_ns()
        if self.live.pop(entry.job_id, None):
            self.ended[entry.job_id] = entry

    def delete(self, entry: Entry) -> None:
        """Record that a delete succeeded."""
        entry.deleted_at, entry.log = time.monotonic(), None
        self.ended.pop(entry.job_id, None)
        self.counts["deleted"] += 1

    def was_full(self, since: float, until: float, *, wall: bool = False) -> bool:
        """Return whether the disk was full at any time between two times."""
        spans = ((w.start_wall, w.end_wall) if wall else (w.start, w.end) for w in self.windows)
        return any(start <= until and since <= end for start, end in spans)

    def present(self) -> list[Entry]:
        """Return the jobs that the server must have."""
        return [entry for entry in self.by_id.values() if entry.exists]
