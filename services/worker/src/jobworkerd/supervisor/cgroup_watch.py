"""Repair of the cgroups above the jobs after another program removed them or disabled controllers."""

import asyncio
from collections.abc import Callable, Iterable

from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.live_job import LiveJob

_INTERVAL_SECONDS = 2.0
"""The kernel has no event for it, and a check is one read."""


class CgroupWatch:
    """The owner of a timer until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hierarchy: Hierarchy,
        jobs: Callable[[], Iterable[LiveJob]],
        log: EventLog,
        on_problem: Callable[[str], None],
    ) -> None:
        """`on_problem` is called with each new value of `Hierarchy.problem`."""
        self._loop = loop
        self._hierarchy = hierarchy
        self._jobs = jobs
        self._log = log
        self._on_problem = on_problem
        self._problem = ""
        self._timer = loop.call_later(_INTERVAL_SECONDS, self._check)

    def close(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _check(self) -> None:
        self._timer = self._loop.call_later(_INTERVAL_SECONDS, self._check)
        try:
            self._repair()
        except OSError as error:  # an exhausted host; the next check repeats it
            self._log.error("fault", error, step="cgroups")

    def _repair(self) -> None:
        hierarchy = self._hierarchy
        hierarchy.repair()
        self._report(hierarchy.problem)
        if hierarchy.repaired:
            for job in self._jobs():
                job.limits.restore()
            self._log.warning("cgroups recreated", lost=hierarchy.repaired)
            hierarchy.repaired.clear()

    def _report(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            self._log.error("limits cannot be enforced", reason=problem)
        else:
            self._log.info("limits can be enforced again")
        self._on_problem(problem)
