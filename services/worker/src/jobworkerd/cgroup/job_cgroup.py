"""One job's cgroup, from mkdir to rmdir."""

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType

from jobworkerd.cgroup import cpu, cpuset, files, io, memory, pids, psi
from jobworkerd.cgroup.containment import CONTAINMENT
from jobworkerd.cgroup.hierarchy import Hierarchy
from jobworkerd.cgroup.populated import PopulatedWatcher, is_populated
from jobworkerd.cgroup.read_back import read_back
from jobworkerd.exhaustion import is_passing
from jobworkerd.model import AppliedLimit, Limits, Usage
from jobworkerd.retry import retry_while_exhausted

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


class JobCgroup:
    """A cgroup with limits; the owner of its directory and of file descriptors from `make` until `remove`.

    What ends the job needs no other descriptor: those of its files are opened with the cgroup.
    """

    def __init__(self, path: Path, hierarchy: Hierarchy, watcher: PopulatedWatcher) -> None:
        self._path = path
        self._hierarchy = hierarchy
        self._watcher = watcher
        self._made = self._ready = False
        self._weight = ""
        self._open: list[int] = []

    def make(self) -> None:
        """Makes the directory and opens its files.

        Raises:
            OSError: it cannot be made, or is there already. `remove` removes what was made.
        """
        self._path.mkdir()
        self._made = True
        self._directory = self._open_file(".", os.O_RDONLY | os.O_DIRECTORY)
        self._events = self._open_file("cgroup.events", os.O_RDONLY)
        self._kill = self._open_kill()
        self._ready = True

    @property
    def directory_fd(self) -> int:
        """A descriptor of the directory: clone3(2) makes processes in it."""
        return self._directory

    def attach_main(self, pid: int) -> None:
        """Does nothing: the kernel knows the processes of a cgroup."""

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:
        """Sets every limit that limits something, and returns what the kernel made of each.

        Raises:
            OSError: the host is exhausted.
        """
        return (*self.change(limits, limits.limiting, io_paths), self._containment())

    def change(
        self, limits: Limits, names: Iterable[str], io_paths: Sequence[Path]
    ) -> tuple[AppliedLimit, ...]:
        """Sets the named limits, lifts those of them that limit nothing, and returns what the kernel made
        of each; of one that is lifted there is nothing to say.

        Raises:
            OSError: the host is exhausted. Some of the limits may be set.
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
        limiting = limits.limiting
        return tuple(each for each in applied if each.limit in limiting or not each.in_force)

    def _try(self, limit: str, setter: Callable[[], AppliedLimit]) -> AppliedLimit:
        if why := self._hierarchy.reason(CONTROLLER_OF[limit]):
            return AppliedLimit(limit=limit, in_force=False, reason=why)
        try:
            return setter()
        except OSError as error:
            if is_passing(error.errno):
                raise
            return AppliedLimit(limit=limit, in_force=False, reason=f"{error.filename}: {error.strerror}")

    def boost_cpu_weight(self) -> None:
        """Gives the job the most CPU weight, so that its program is executed at once and not after a turn of
        each other job; until `restore_cpu_weight`.
        """
        if self._hierarchy.reason(cpu.CONTROLLER):
            return
        with suppress(OSError):  # then it only takes longer
            self._weight = files.read(self._path, cpu.WEIGHT_FILE)
            files.write(self._path, cpu.WEIGHT_FILE, str(cpu.MOST_WEIGHT))

    def restore_cpu_weight(self) -> None:
        """Gives the job the CPU weight that it has by its limits, once its program is executed.

        Raises:
            OSError: the kernel refused it.
        """
        if self._weight:
            files.write(self._path, cpu.WEIGHT_FILE, self._weight)

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        """Returns what the kernel holds now of limits that `apply` or `change` returned.

        Raises:
            OSError: the host is exhausted.
        """
        return read_back(self._path, applied)

    def _containment(self) -> AppliedLimit:
        if self._kill is not None:
            return AppliedLimit(limit=CONTAINMENT, in_force=True, file="cgroup.kill")
        return AppliedLimit(limit=CONTAINMENT, in_force=False, reason=NO_KILL)

    def populated(self) -> bool:
        """Tells whether there is a process in the cgroup or below it; a zombie is none."""
        return is_populated(self._events)

    def kill(self) -> None:
        """Kills every process in the cgroup and below it, forks under way included."""
        if self._kill is not None:
            os.write(self._kill, b"1")
            return
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def kill_all(self) -> None:
        """Kills every process, and returns once there is none."""
        if not self._ready:
            return
        await retry_while_exhausted(self.kill)
        if self._kill is not None:
            await self._watcher.wait_empty(self._events)
            return
        while self.populated():
            with suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS):
                    await self._watcher.wait_empty(self._events)
            await retry_while_exhausted(self.kill)

    def pids(self) -> list[int]:
        """Returns the processes in the cgroup and below it."""
        found: list[int] = []
        for directory in files.subtree(self._path):
            found += map(int, files.read(directory, "cgroup.procs").split())
        return found

    def memory_high_count(self) -> int:
        """Returns how often `memory.high` slowed the job."""
        return memory.high_count(self._path)

    def lift_memory_high(self) -> None:
        """Lifts `memory.high`.

        Raises:
            OSError: the kernel refused it.
        """
        memory.lift_high(self._path)

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
            OSError: one of them has a process after all, or cannot be removed now; the call can be repeated.
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
