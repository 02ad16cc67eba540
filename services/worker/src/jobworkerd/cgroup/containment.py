"""The interface of `JobCgroup`, and of `ProcessGroup`, which replaces it on a host without cgroups."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from jobworkerd.model import AppliedLimit, Limits, Usage

CONTAINMENT = "containment"
"""The entry of the record that is in force if no process can escape. No request sets it."""


class Containment(Protocol):
    """The processes of one job and their limits, from `make` until `remove`."""

    @property
    def no_cgroup(self) -> str:
        """The reason for the lack of a cgroup; empty with a cgroup."""

    @property
    def directory_fd(self) -> int | None:
        """The descriptor of the cgroup's directory for clone3(2); None without a cgroup."""

    def make(self) -> None:
        """Create the containment.

        Raises:
            OSError: the cgroup cannot be created. `remove` also removes a partially created one.
        """

    def adopt(self, weight: str) -> None:
        """Take over the containment that an earlier supervisor has made. `weight` is its CPU weight.

        Raises:
            OSError: the cgroup was removed, or the host is exhausted.
        """

    def attach_main(self, pid: int) -> None:
        """Note the PID of the main process, which is not reaped before `kill_all` returns."""

    def apply(self, limits: Limits, io_paths: Sequence[Path]) -> tuple[AppliedLimit, ...]:
        """Set all limits that are not unlimited, and return the values that the kernel holds.

        Raises:
            OSError: the host is exhausted.
        """

    def change(
        self, limits: Limits, names: Iterable[str], io_paths: Sequence[Path]
    ) -> tuple[AppliedLimit, ...]:
        """Set the named limits. Lift each named limit whose value is unlimited.

        Returns the values that the kernel holds, without the limits that were lifted.

        Raises:
            OSError: the host is exhausted. Some of the limits may be set.
        """

    def read_back(self, applied: Iterable[AppliedLimit]) -> tuple[AppliedLimit, ...]:
        """Return limits that `apply` or `change` returned, with the values that the kernel holds now.

        Raises:
            OSError: the host is exhausted.
        """

    def boost_cpu_weight(self) -> str:
        """Give the job the highest CPU weight until `restore_cpu_weight`, to speed up execve(2).

        Returns the weight to restore; empty without a CPU weight.
        """

    def restore_cpu_weight(self) -> None:
        """Give the job the CPU weight of its limits again.

        Raises:
            OSError: the kernel refused the value.
        """

    async def populated(self) -> bool:
        """Return whether a process is left; zombies do not count.

        Raises:
            OSError: the kernel does not say.
        """

    def pids(self) -> list[int]:
        """Return the PIDs of all processes."""

    def kill(self) -> None:
        """Send SIGKILL to all processes.

        Raises:
            OSError: the kernel refused a signal.
        """

    async def kill_all(self) -> None:
        """Send SIGKILL to all processes, and return when no process is left."""

    def memory_high_count(self) -> int:
        """Return how often `memory.high` throttled the job."""

    def lift_memory_high(self) -> None:
        """Lift `memory.high`.

        Raises:
            OSError: the kernel refused the value.
        """

    def usage(self) -> Usage:
        """Return the usage of the job so far."""

    def remove(self) -> None:
        """Remove the containment, which has no process left.

        Raises:
            OSError: a cgroup cannot be removed now. The call can be repeated.
        """
