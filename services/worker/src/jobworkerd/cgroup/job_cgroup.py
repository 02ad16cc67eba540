"""One job's cgroup, from mkdir to rmdir."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

from jobworkerd.cgroup import cpu, cpuset, files, io, memory, pids, psi
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher
from jobworkerd.model import AppliedLimit, Limits, Usage

CONTAINMENT = "containment"
NO_KILL = "this kernel has no cgroup.kill; boot Linux >= 5.14"

_RETRY_SECONDS = 0.05
"""How long a kernel without cgroup.kill has between two rounds of SIGKILL; forks may outrun one."""


CONTROLLER_OF: Mapping[str, str] = MappingProxyType(
    {
        cpu.LIMIT: cpu.CONTROLLER,
        cpu.WEIGHT: cpu.CONTROLLER,
        cpuset.LIMIT: cpuset.CONTROLLER,
        memory.LIMIT: memory.CONTROLLER,
        io.BPS: io.CONTROLLER,
        io.IOPS: io.CONTROLLER,
        pids.LIMIT: pids.CONTROLLER,
    }
)
"""The controller that enforces each limit."""


def limits_set(limits: Limits) -> list[str]:
    """Returns the names of the limits that limit something."""
    return [name for name in CONTROLLER_OF if getattr(limits, name)]


class JobCgroup:
    """A cgroup with limits; the owner of its directory and two file descriptors until `remove`."""

    def __init__(self, path: Path, hierarchy: Hierarchy, watcher: PopulatedWatcher) -> None:
        """Makes the directory.

        Raises:
            OSError: it cannot be made, or is there already. Nothing is left behind.
        """
        path.mkdir()
        self._path = path
        self._hierarchy = hierarchy
        self._watcher = watcher
        self._open: list[int] = []
        try:
            self._directory = self._open_file(".", os.O_RDONLY | os.O_DIRECTORY)
            self._events = self._open_file("cgroup.events", os.O_RDONLY)
        except OSError:
            self.remove()
            raise

    @property
    def directory_fd(self) -> int:
        """A descriptor of the directory: clone3(2) makes processes in it."""
        return self._directory

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:
        """Sets every limit that limits something, and returns what the kernel made of each."""
        return (*self.change(limits, limits_set(limits), io_paths), self._containment())

    def change(
        self, limits: Limits, names: Iterable[str], io_paths: Sequence[Path]
    ) -> tuple[AppliedLimit, ...]:
        """Sets the named limits, lifts those of them that limit nothing, and returns what the kernel made
        of each; of one that is lifted there is nothing to say.
        """
        setters = {
            cpu.LIMIT: partial(cpu.apply, self._path, limits),
            cpu.WEIGHT: partial(cpu.apply_weight, self._path, limits),
            cpuset.LIMIT: partial(cpuset.apply, self._path, limits),
            memory.LIMIT: partial(memory.apply, self._path, limits),
            io.BPS: partial(io.apply_bps, self._path, limits, io_paths),
            io.IOPS: partial(io.apply_iops, self._path, limits, io_paths),
            pids.LIMIT: partial(pids.apply, self._path, limits),
        }
        applied = [self._try(name, setters[name]) for name in names]
        limiting = limits_set(limits)
        return tuple(each for each in applied if each.limit in limiting or not each.in_force)

    def _try(self, limit: str, setter: Callable[[], AppliedLimit]) -> AppliedLimit:
        if why := self._hierarchy.reason(CONTROLLER_OF[limit]):
            return AppliedLimit(limit=limit, in_force=False, reason=why)
        try:
            return setter()
        except OSError as error:
            return AppliedLimit(limit=limit, in_force=False, reason=f"{error.filename}: {error.strerror}")

    def _containment(self) -> AppliedLimit:
        if self._has_kill():
            return AppliedLimit(limit=CONTAINMENT, in_force=True, file="cgroup.kill")
        return AppliedLimit(limit=CONTAINMENT, in_force=False, reason=NO_KILL)

    def pids(self) -> list[int]:
        """Returns the processes in the cgroup and below it; a zombie is none."""
        found: list[int] = []
        for directory in files.subtree(self._path):
            found += map(int, files.read(directory, "cgroup.procs").split())
        return found

    def kill(self) -> None:
        """Kills every process in the cgroup and below it, forks under way included."""
        if self._has_kill():
            files.write(self._path, "cgroup.kill", "1")
            return
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def kill_all(self) -> None:
        """Kills every process, and returns once there is none."""
        self.kill()
        if self._has_kill():
            await self._watcher.wait_empty(self._events)
            return
        while self.pids():
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._watcher.wait_empty(self._events)
            self.kill()

    def usage(self) -> Usage:
        """Returns what the job has used so far."""
        return Usage(
            **cpu.stat(self._path),
            **memory.stat(self._path),
            **io.stat(self._path),
            **pids.stat(self._path),
            **psi.stat(self._path),
        )

    def remove(self) -> None:
        """Removes the cgroup and those that the job made in it; no process is left in them.

        Raises:
            OSError: one of them has a process after all.
        """
        while self._open:
            os.close(self._open.pop())
        for directory in files.subtree(self._path):
            directory.rmdir()

    def _open_file(self, name: str, flags: int) -> int:
        descriptor = os.open(self._path / name, flags | os.O_CLOEXEC)
        self._open.append(descriptor)
        return descriptor

    def _has_kill(self) -> bool:
        return (self._path / "cgroup.kill").exists()
