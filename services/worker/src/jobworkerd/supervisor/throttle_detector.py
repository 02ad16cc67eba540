"""Detects jobs that `memory.high` throttles for too long, from event counts and times."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_PAUSE_SECONDS = 4.0
"""The kernel throttles a process for up to 2 s at a time, so a shorter pause does not end a streak."""


@dataclass(frozen=True)
class ThrottleReport:
    """Jobs that were throttled for the first time, and jobs that have been throttled for too long."""

    first: list[str] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Streak:
    count: int
    since: float
    latest: float


class ThrottleDetector:
    """Follows the `memory.high` event counts of all jobs."""

    def __init__(self, patience: float) -> None:
        """`patience` is how long (seconds) a job may be throttled without a pause; 0 means forever."""
        self._patience = patience
        self._streaks: dict[str, _Streak] = {}

    def update(self, counts: Mapping[str, int], now: float) -> ThrottleReport:
        """Take the current count of each job, and return the changes since the previous call."""
        report = ThrottleReport()
        self._streaks = {
            job_id: self._streak(job_id, count, now, report) for job_id, count in counts.items() if count
        }
        return report

    def active(self, now: float) -> bool:
        """Return whether a job is being throttled, so that `update` has to be called again."""
        return any(now - streak.latest < _PAUSE_SECONDS for streak in self._streaks.values())

    def _streak(self, job_id: str, count: int, now: float, report: ThrottleReport) -> _Streak:
        before = self._streaks.get(job_id)
        if before is None:
            report.first.append(job_id)
            return _Streak(count, now, now)
        if count == before.count:
            return before
        since = before.since if now - before.latest < _PAUSE_SECONDS else now
        if self._patience and now - since >= self._patience:
            report.too_long.append(job_id)
            since = now
        return _Streak(count, since, now)
