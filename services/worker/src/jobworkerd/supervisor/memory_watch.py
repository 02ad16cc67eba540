"""Detects jobs that `memory.high` throttles for too long, and lifts `memory.high` for them.

`memory.high` is an early warning at 90 % of the limit. A program that allocates memory in small steps would
stay there for minutes, neither running nor killed. Without `memory.high` the kernel decides at `memory.max`:
it reclaims memory or kills the job.

`jobs/memory.events` counts the events of all jobs, so one descriptor serves any number of jobs. Nothing is
read while no job is near its limit.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from jobworkerd.supervisor.throttle_detector import ThrottleDetector

_MIN_INTERVAL_SECONDS = 1.0
"""Minimum time between two checks: busy jobs cause hundreds of other events per second."""


class Limits(Protocol):
    """The part of a live job's limits that this module uses."""

    def memory_high_count(self) -> int:
        """Return how often `memory.high` throttled the job."""

    def lift_memory_high(self) -> None:
        """Lift `memory.high`."""


class Job(Protocol):
    """The part of a live job that this module uses."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def limits(self) -> Limits:
        """The job's limits."""


class MemoryWatch:
    """The owner of two descriptors and a timer, until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        jobs_cgroup: Path | None,
        patience: float,
        jobs: Callable[[], Iterable[Job]],
        on_first_throttle: Callable[[str], None],
    ) -> None:
        """`jobs_cgroup` is the parent of the jobs' cgroups; None if jobs have no cgroups.

        `on_first_throttle` is called with the id of a job that reaches `memory.high` for the first time.
        """
        self._loop = loop
        self._file = jobs_cgroup and jobs_cgroup / "memory.events"
        self._detector = ThrottleDetector(patience)
        self._jobs = jobs
        self._on_first_throttle = on_first_throttle
        self._timer: asyncio.TimerHandle | None = None
        self._events: int | None = None
        self._epoll: select.epoll | None = None
        self._open()
        self._wait_for_event()

    def close(self) -> None:
        """Stop watching and close the descriptors."""
        if self._timer:
            self._timer.cancel()
        if self._epoll:
            self._loop.remove_reader(self._epoll.fileno())
        self._release()

    def _open(self) -> None:
        """Open the file. Nothing is watched without the memory controller or on an exhausted host."""
        if self._file is None:
            return
        try:
            self._events = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            # The kernel signals a change with POLLPRI, see `cgroup.populated`.
            self._epoll = select.epoll()
            self._epoll.register(self._events, select.EPOLLPRI)
        except OSError:
            self._release()

    def _release(self) -> None:
        if self._epoll:
            self._epoll.close()
        if self._events is not None:
            os.close(self._events)
        self._epoll = self._events = None

    def _wait_for_event(self) -> None:
        if self._epoll:
            self._loop.add_reader(self._epoll.fileno(), self._on_event)

    def _on_event(self) -> None:
        assert self._epoll
        self._loop.remove_reader(self._epoll.fileno())
        self._check()

    def _check(self) -> None:
        self._acknowledge()
        jobs = {job.id: job for job in self._jobs()}
        report = self._detector.update(self._counts(jobs.values()), self._loop.time())
        for job_id in report.first:
            self._on_first_throttle(job_id)
        for job_id in report.too_long:
            jobs[job_id].limits.lift_memory_high()
        self._timer = self._loop.call_later(_MIN_INTERVAL_SECONDS, self._continue)

    def _acknowledge(self) -> None:
        """Read the file before the jobs' own files: after that, only a later event makes it ready again."""
        try:
            if self._events is not None:
                os.pread(self._events, 4096, 0)
        except OSError:  # ENODEV: the jobs' cgroup was removed and created again
            self._release()
            self._open()

    def _counts(self, jobs: Iterable[Job]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for job in jobs:
            with contextlib.suppress(OSError):  # an exhausted host; the next check reads the count
                counts[job.id] = job.limits.memory_high_count()
        return counts

    def _continue(self) -> None:
        if self._detector.active(self._loop.time()):
            self._check()
        else:
            self._wait_for_event()
