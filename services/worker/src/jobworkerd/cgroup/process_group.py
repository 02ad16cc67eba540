"""What stands in for a job's cgroup on a host where none can be made: its process group.

A process that leaves the group with setsid(2) escapes, no limit is in force, and nothing is measured;
the job's record says so.
"""

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from jobworkerd.cgroup.job_cgroup import CONTAINMENT, limits_set
from jobworkerd.insist import insist
from jobworkerd.model import AppliedLimit, Limits, Usage

_POLL_SECONDS = 0.01
"""The kernel has no notice for "this process group is empty"."""


class ProcessGroup:
    """The process group that a job's main process leads; `lead` says which, once there is one."""

    directory_fd = None

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self._leader = 0

    def make(self) -> None:
        """Has nothing to make."""

    def lead(self, pid: int) -> None:
        """Says which process leads the group; it is not reaped before `kill_all` has returned."""
        self._leader = pid

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:  # noqa: ARG002 - as JobCgroup
        """Returns the limits that limit something, none of them in force."""
        return self._not_in_force((*limits_set(limits), CONTAINMENT))

    def change(
        self,
        limits: Limits,
        names: Iterable[str],
        io_paths: Sequence[Path],  # noqa: ARG002 - as JobCgroup
    ) -> tuple[AppliedLimit, ...]:
        """Returns those of the named limits that limit something, none of them in force."""
        return self._not_in_force([name for name in limits_set(limits) if name in set(names)])

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        """Returns the limits as they are, none of them in force."""
        return tuple(applied)

    def _not_in_force(self, names: Iterable[str]) -> tuple[AppliedLimit, ...]:
        return tuple(AppliedLimit(limit=name, in_force=False, reason=self._reason) for name in names)

    def hurry(self) -> None:
        """Has no weight to give."""

    def settle(self) -> None:
        """Has no weight to take back."""

    def populated(self) -> bool:
        """Tells whether the group has a process; a zombie is none."""
        return next(self._members(), None) is not None

    def pids(self) -> list[int]:
        """Returns the processes of the group; a zombie is none."""
        return list(self._members())

    def _members(self) -> Iterator[int]:
        stats = Path("/proc").glob("[0-9]*/stat")
        return (int(stat.parent.name) for stat in stats if self._is_member(stat))

    def _is_member(self, stat: Path) -> bool:
        try:
            # proc(5): the command's name, in parentheses, may hold anything; then state, ppid, pgrp.
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return int(group) == self._leader and state != "Z"

    def kill(self) -> None:
        """Kills every process of the group."""
        if self._leader:
            try:
                os.killpg(self._leader, signal.SIGKILL)
            except ProcessLookupError:  # it does not lead a group yet
                os.kill(self._leader, signal.SIGKILL)

    async def kill_all(self) -> None:
        """Kills every process of the group, and returns once there is none."""
        if not self._leader:
            return
        self.kill()
        while await insist(self.populated):  # noqa: ASYNC110 - the kernel has no event to wait for, see _POLL_SECONDS
            await asyncio.sleep(_POLL_SECONDS)

    def memory_high_count(self) -> int:
        """Returns 0: nothing slows it."""
        return 0

    def lift_memory_high(self) -> None:
        """Has nothing to lift."""

    def usage(self) -> Usage:
        """Returns nothing measured."""
        return Usage()

    def remove(self) -> None:
        """Has nothing to give back."""
