"""The process group that holds a job's processes on a host without usable cgroups.

A process that calls setsid(2) escapes, no limit is in force and no usage is measured. The job's record says
so.
"""

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobworkerd.cgroup.containment import CONTAINMENT
from jobworkerd.cgroup.group_scan import GroupScan, process_groups
from jobworkerd.model import AppliedLimit, Limits, Usage

_POLL_SECONDS = 0.01
"""The kernel has no event for an empty process group."""


class ProcessGroup:
    """The process group of a job's main process; see `Containment`."""

    directory_fd = None

    def __init__(self, reason: str, scan: GroupScan) -> None:
        """`reason` says why the host has no usable cgroups."""
        self.no_cgroup = reason
        self._scan = scan
        self._leader = 0

    def make(self) -> None:
        """Do nothing: the main process creates its group."""

    def attach_main(self, pid: int) -> None:
        """Set the leader of the group, which is not reaped before `kill_all` returns."""
        self._leader = pid

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:  # noqa: ARG002 - Containment
        """Return all limits that are not unlimited. They are not in force."""
        return self._not_in_force((*limits.limiting, CONTAINMENT))

    def change(
        self,
        limits: Limits,
        names: Iterable[str],
        io_paths: Sequence[Path],  # noqa: ARG002 - Containment
    ) -> tuple[AppliedLimit, ...]:
        """Return the named limits that are not unlimited. They are not in force."""
        changed = set(names)
        return self._not_in_force(name for name in limits.limiting if name in changed)

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        """Return the limits. They are not in force, also if they were in a cgroup that was removed."""
        return self._not_in_force(each.limit for each in applied)

    def _not_in_force(self, names: Iterable[str]) -> tuple[AppliedLimit, ...]:
        return tuple(AppliedLimit(limit=name, in_force=False, reason=self.no_cgroup) for name in names)

    def adopt(self, weight: str) -> None:
        """Do nothing: `attach_main` sets the group."""

    def boost_cpu_weight(self) -> str:
        """Return nothing: the group has no CPU weight."""
        return ""

    def restore_cpu_weight(self) -> None:
        """Do nothing: the group has no CPU weight."""

    async def populated(self) -> bool:
        """Return whether the group has a process that is not a zombie."""
        return bool(await self._scan.members(self._leader))

    def pids(self) -> list[int]:
        """Return the processes of the group, without zombies."""
        return list(process_groups().get(self._leader, ()))

    def kill(self) -> None:
        """Send SIGKILL to the group."""
        if self._leader:
            try:
                os.killpg(self._leader, signal.SIGKILL)
            except ProcessLookupError:  # the main process has not created its group yet
                os.kill(self._leader, signal.SIGKILL)

    async def kill_all(self) -> None:
        """Send SIGKILL to the group, and return when it is empty."""
        if not self._leader:
            return
        self.kill()
        while await self.populated():  # noqa: ASYNC110 - see _POLL_SECONDS
            await asyncio.sleep(_POLL_SECONDS)

    def memory_high_count(self) -> int:
        """Return 0: the group has no memory limit."""
        return 0

    def lift_memory_high(self) -> None:
        """Do nothing: the group has no memory limit."""

    def usage(self) -> Usage:
        """Return no figures: the kernel does not account process groups."""
        return Usage()

    def remove(self) -> None:
        """Do nothing: the group ends with its processes."""
