"""The metrics of the supervisor.

Each supervisor counts from zero, as Prometheus expects of a process that restarts. Gauges are read when they
are requested, so they are right from the adoption of the jobs on.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobworkerd.logs.totals import LogTotals
from jobworkerd.metrics import process_usage
from jobworkerd.metrics.definitions import (
    DISK_AVAILABLE,
    DISK_SIZE,
    JOB_ACTIVE,
    JOB_DURATION,
    JOB_OOM_KILLS,
    JOB_START_DURATION,
    LOG_LOST,
    LOG_WRITTEN,
    QUEUE_LENGTH,
)
from jobworkerd.metrics.instruments import Histogram, Sample, Snapshot, sample
from jobworkerd.model import Job, JobStatus
from jobworkerd.trace_context import JobTrace


class Counters:
    """Counts the starts and the ends of jobs."""

    def __init__(self) -> None:
        self._start_time_ns = time.time_ns()
        self._starting = 0
        self._starts = Histogram(JOB_START_DURATION)
        self._durations = Histogram(JOB_DURATION)
        self._oom_kills = 0

    @contextmanager
    def start(self, trace: JobTrace | None = None) -> Iterator[None]:
        """Measure a start. It counts if this context ends without an error: the command runs then."""
        begin = time.perf_counter()
        self._starting += 1
        try:
            yield
            trace_id = trace.parent.sampled_id if trace else ""
            self._starts.record(time.perf_counter() - begin, trace_id=trace_id)
        finally:
            self._starting -= 1

    def ended(self, job: Job) -> None:
        """Count a final job. One whose command never ran has no duration."""
        self._oom_kills += job.usage.oom_kill_count or 0
        if job.start_time_ns is not None and job.end_time_ns is not None:
            self._durations.record((job.end_time_ns - job.start_time_ns) / 1e9, job.status.value)

    def snapshot(self, live: int, queued: int, logs: LogTotals, state_dir: Path) -> Snapshot:
        """Return all samples of this process.

        `live` and `queued` are numbers of jobs. `state_dir` is on the disk of the logs and records.
        """
        jobs = self._samples(live, queued)
        samples = (*jobs, *_logs(logs), *_disk(state_dir), *process_usage.samples("supervisor"))
        return Snapshot(self._start_time_ns, samples)

    def _samples(self, live: int, queued: int) -> Iterator[Sample]:
        starting = min(self._starting, live)
        yield sample(JOB_ACTIVE, starting, JobStatus.INITIALIZING.value)
        yield sample(JOB_ACTIVE, live - starting, JobStatus.RUNNING.value)
        yield from self._starts.samples()
        yield from self._durations.samples()
        yield sample(JOB_OOM_KILLS, self._oom_kills)
        yield sample(QUEUE_LENGTH, queued)


def _logs(totals: LogTotals) -> Iterator[Sample]:
    yield sample(LOG_WRITTEN, totals.written)
    yield sample(LOG_LOST, totals.lost)


def _disk(directory: Path) -> Iterator[Sample]:
    with suppress(OSError):  # a broken disk, which the server's log reports
        disk = os.statvfs(directory)
        yield sample(DISK_AVAILABLE, disk.f_bavail * disk.f_frsize)
        yield sample(DISK_SIZE, disk.f_blocks * disk.f_frsize)
