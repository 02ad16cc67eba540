"""Notices jobs that `memory.high` slows down, and lifts it from those that it has slowed for too long.

`memory.high` is an early warning at 90 % of the limit. A program that takes memory in small steps would live
there for minutes, neither running nor killed. Without `memory.high` the kernel decides at `memory.max`: it
finds room, or it kills.

The kernel counts the events of all jobs in `jobs/memory.events`, too: one descriptor serves any number of
jobs, and nothing is read while no job is near its limit.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from jobworkerd.supervisor.throttling import Throttling

_LOOK_SECONDS = 1.0
"""The least time between two looks: other events of busy jobs come a hundred times per second."""


class Job(Protocol):
    """What this module needs of a live job."""

    @property
    def id(self) -> str:
        """The job's id."""

    def memory_high_count(self) -> int:
        """Returns how often `memory.high` slowed the job."""

    def lift_memory_high(self) -> None:
        """Lifts `memory.high`."""


class MemoryWatch:
    """The owner of two descriptors and a timer, until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        jobs_cgroup: Path | None,
        patience: float,
        jobs: Callable[[], Iterable[Job]],
        on_reached: Callable[[str], None],
    ) -> None:
        """`jobs_cgroup` is the parent of the jobs' cgroups, None where they have none.

        `on_reached` is called with the id of a job that reaches `memory.high` for the first time.
        """
        self._loop = loop
        self._file = jobs_cgroup and jobs_cgroup / "memory.events"
        self._throttling = Throttling(patience)
        self._jobs = jobs
        self._on_reached = on_reached
        self._timer: asyncio.TimerHandle | None = None
        self._events: int | None = None
        self._epoll: select.epoll | None = None
        self._open()
        self._arm()

    def close(self) -> None:
        """Ends watching."""
        if self._timer:
            self._timer.cancel()
        if self._epoll:
            self._loop.remove_reader(self._epoll.fileno())
        self._release()

    def _open(self) -> None:
        """Opens the file; without the memory controller, or on an exhausted host, nothing is watched."""
        if self._file is None:
            return
        try:
            self._events = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            # The kernel marks a change with POLLPRI, see `cgroup.populated`.
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

    def _arm(self) -> None:
        if self._epoll:
            self._loop.add_reader(self._epoll.fileno(), self._on_event)

    def _on_event(self) -> None:
        assert self._epoll
        self._loop.remove_reader(self._epoll.fileno())
        self._look()

    def _look(self) -> None:
        self._acknowledge()
        jobs = {job.id: job for job in self._jobs()}
        verdict = self._throttling.look(self._counts(jobs.values()), self._loop.time())
        for job_id in verdict.reached:
            self._on_reached(job_id)
        for job_id in verdict.too_long:
            jobs[job_id].lift_memory_high()
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._go_on)

    def _acknowledge(self) -> None:
        """Reads the file, before the jobs' own: only a later event makes it ready again."""
        try:
            if self._events is not None:
                os.pread(self._events, 4096, 0)
        except OSError:  # ENODEV: the jobs' cgroup was removed, and made again
            self._release()
            self._open()

    def _counts(self, jobs: Iterable[Job]) -> dict[str, int]:
        counts: dict[str, int] = {}
        for job in jobs:
            with contextlib.suppress(OSError):  # an exhausted host: the next look tells
                counts[job.id] = job.memory_high_count()
        return counts

    def _go_on(self) -> None:
        if self._throttling.goes_on(self._loop.time()):
            self._look()
        else:
            self._arm()
