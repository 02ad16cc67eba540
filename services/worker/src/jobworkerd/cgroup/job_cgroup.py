"""The cgroup of one job, from mkdir to rmdir."""

import asyncio
import errno
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from jobworkerd.cgroup import cpu, files, memory
from jobworkerd.cgroup.containment import CONTAINMENT
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.limit import Limit
from jobworkerd.cgroup.limits import LIMITS
from jobworkerd.cgroup.populated import PopulatedWatcher, is_populated
from jobworkerd.cgroup.read_back import read_back
from jobworkerd.cgroup.usage import read_usage
from jobworkerd.exhaustion import is_passing
from jobworkerd.model import AppliedLimit, Limits, Usage
from jobworkerd.retry import retry_while_exhausted

NO_KILL = "this kernel has no cgroup.kill; boot Linux >= 5.14"

_RETRY_SECONDS = 0.05
"""Delay between two rounds of SIGKILL on a kernel without cgroup.kill. New forks can outrun one round."""


class JobCgroup:
    """A cgroup with limits; see `Containment`. It owns its directory and its descriptors until `remove`.

    `make` opens all files that ending the job needs, so that an exhausted host cannot prevent the end.
    """

    no_cgroup = ""

    def __init__(self, path: Path, hierarchy: Hierarchy, watcher: PopulatedWatcher) -> None:
        self._path = path
        self._hierarchy = hierarchy
        self._watcher = watcher
        self._made = self._ready = False
        self._weight = ""
        self._open: list[int] = []

    def make(self) -> None:
        """Create the directory and open its files.

        Raises:
            OSError: the directory cannot be created, or exists. `remove` removes a partially created one.
        """
        self._path.mkdir()
        self._open_files()

    def adopt(self, weight: str) -> None:
        """Open the files of a cgroup that an earlier supervisor has made. `weight` is its CPU weight.

        Raises:
            OSError: the cgroup was removed, or the host is exhausted.
        """
        self._weight = weight
        self._open_files()

    def _open_files(self) -> None:
        self._made = True
        self._directory = self._open_file(".", os.O_RDONLY | os.O_DIRECTORY)
        self._events = self._open_file("cgroup.events", os.O_RDONLY)
        self._kill = self._open_kill()
        self._ready = True

    @property
    def directory_fd(self) -> int:
        """The descriptor of the directory, with which clone3(2) creates processes in the cgroup."""
        return self._directory

    def attach_main(self, pid: int) -> None:
        """Do nothing: the kernel knows the processes of a cgroup."""

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:
        """Set all limits that are not unlimited, and return the values that the kernel holds.

        Raises:
            OSError: the host is exhausted.
        """
        return (*self.change(limits, limits.limiting, io_paths), self._containment())

    def change(
        self, limits: Limits, names: Iterable[str], io_paths: Sequence[Path]
    ) -> tuple[AppliedLimit, ...]:
        """Set the named limits. Lift each named limit whose value is unlimited.

        Returns the values that the kernel holds, without the limits that were lifted.

        Raises:
            OSError: the host is exhausted. Some of the limits may be set.
        """
        applied = [self._try(LIMITS[name], limits, io_paths) for name in names]
        limiting = limits.limiting
        return tuple(each for each in applied if each.limit in limiting or not each.in_force)

    def _try(self, limit: Limit, limits: Limits, io_paths: Sequence[Path]) -> AppliedLimit:
        if why := self._hierarchy.reason(limit.controller):
            return AppliedLimit(limit=limit.name, in_force=False, reason=why)
        try:
            return limit.apply(self._path, limits, io_paths)
        except OSError as error:
            if is_passing(error.errno):
                raise
            reason = f"{error.filename}: {error.strerror}"
            return AppliedLimit(limit=limit.name, in_force=False, reason=reason)

    def boost_cpu_weight(self) -> str:
        """Give the job the highest CPU weight until `restore_cpu_weight`, and return its own weight.

        The command is executed at once then, and not after a time slice of each other job.
        """
        if self._hierarchy.reason(cpu.CONTROLLER):
            return ""
        with suppress(OSError):  # the start only takes longer
            self._weight = files.read(self._path, cpu.WEIGHT_FILE)
            files.write(self._path, cpu.WEIGHT_FILE, str(cpu.MAX_WEIGHT))
        return self._weight

    def restore_cpu_weight(self) -> None:
        """Give the job the CPU weight of its limits again.

        Raises:
            OSError: the kernel refused the value.
        """
        if self._weight:
            files.write(self._path, cpu.WEIGHT_FILE, self._weight)

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        """Return limits that `apply` or `change` returned, with the values that the kernel holds now.

        Raises:
            OSError: the host is exhausted.
        """
        return read_back(self._path, applied)

    def _containment(self) -> AppliedLimit:
        if self._kill is not None:
            return AppliedLimit(limit=CONTAINMENT, in_force=True, file="cgroup.kill")
        return AppliedLimit(limit=CONTAINMENT, in_force=False, reason=NO_KILL)

    async def populated(self) -> bool:
        """Return whether a process is left in the cgroup or below it; zombies do not count.

        Raises:
            OSError: the kernel does not say.
        """
        return await retry_while_exhausted(partial(is_populated, self._events))

    def kill(self) -> None:
        """Send SIGKILL to all processes in the cgroup and below it. `cgroup.kill` includes concurrent forks.

        Raises:
            OSError: the kernel refused a signal.
        """
        if self._kill is not None:
            os.write(self._kill, b"1")
            return
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def kill_all(self) -> None:
        """Send SIGKILL to all processes, and return when no process is left."""
        if not self._ready:
            return
        await retry_while_exhausted(self.kill)
        if self._kill is not None:
            await self._watcher.wait_empty(self._events)
            return
        while await self.populated():
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._watcher.wait_empty(self._events)
            await retry_while_exhausted(self.kill)

    def pids(self) -> list[int]:
        """Return the PIDs of all processes in the cgroup and below it."""
        found: list[int] = []
        for directory in files.subtree(self._path):
            found += map(int, files.read(directory, "cgroup.procs").split())
        return found

    def memory_high_count(self) -> int:
        """Return how often `memory.high` throttled the job."""
        return memory.high_count(self._path)

    def lift_memory_high(self) -> None:
        """Lift `memory.high`.

        Raises:
            OSError: the kernel refused the value.
        """
        memory.lift_high(self._path)

    def usage(self) -> Usage:
        """Return the usage of the job so far."""
        return read_usage(self._path)

    def remove(self) -> None:
        """Remove the cgroup and those that the job created in it. No process is left in them.

        Raises:
            OSError: a cgroup cannot be removed now. The call can be repeated.
        """
        while self._open:
            os.close(self._open.pop())
        if self._made:
            self._remove_directory()
            self._made = False

    def _remove_directory(self) -> None:
        try:
            self._path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.ENOTEMPTY}:
                raise
            for directory in files.subtree(self._path):
                directory.rmdir()

    def _open_file(self, name: str, flags: int) -> int:
        descriptor = os.open(self._path / name, flags | os.O_CLOEXEC)
        self._open.append(descriptor)
        return descriptor

    def _open_kill(self) -> int | None:
        try:
            return self._open_file("cgroup.kill", os.O_WRONLY)
        except FileNotFoundError:
            return None
