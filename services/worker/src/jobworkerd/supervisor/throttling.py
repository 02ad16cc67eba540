"""Which jobs `memory.high` slows down, and for how long in a row: counts and times only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_PAUSE_SECONDS = 4.0
"""The kernel throttles a process for up to 2 s at a time: a count that rests so long is not yet a pause."""


@dataclass(frozen=True)
class Verdict:
    """What is new: jobs that reached `memory.high` for the first time, and those that it slowed too long."""

    reached: list[str] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Streak:
    count: int
    since: float
    latest: float


class Throttling:
    """Follows the jobs' counts of `memory.high` events."""

    def __init__(self, patience: float) -> None:
        """`patience` is how long (seconds) a job may be slowed in a row; 0 is without an end."""
        self._patience = patience
        self._streaks: dict[str, _Streak] = {}

    def look(self, counts: Mapping[str, int], now: float) -> Verdict:
        """Takes the counts of the jobs that there are, at a time, and returns what is new."""
        verdict = Verdict()
        self._streaks = {
            job_id: self._judge(job_id, count, now, verdict) for job_id, count in counts.items() if count
        }
        return verdict

    def goes_on(self, now: float) -> bool:
        """True if a job is being slowed, so that another look is due."""
        return any(now - streak.latest < _PAUSE_SECONDS for streak in self._streaks.values())

    def _judge(self, job_id: str, count: int, now: float, verdict: Verdict) -> _Streak:
        before = self._streaks.get(job_id)
        if before is None:
            verdict.reached.append(job_id)
            return _Streak(count, now, now)
        if count == before.count:
            return before
        since = before.since if now - before.latest < _PAUSE_SECONDS else now
        if self._patience and now - since >= self._patience:
            verdict.too_long.append(job_id)
            since = now
        return _Streak(count, since, now)
