"""A process whose parent is the keeper or this process (see `Parent`)."""

import os
import select
from dataclasses import dataclass
from typing import Self

from jobworkerd.spawn import headroom
from jobworkerd.spawn.readable import readable


@dataclass(frozen=True)
class Process:
    """A child of the `Parent` that has not been discarded, and its pidfd.

    The pidfd is None for a process that was reaped before this supervisor started.
    """

    pid: int
    pidfd: int | None

    @classmethod
    def of(cls, pid: int) -> Self:
        """Open the pidfd of a child that has not been reaped.

        Raises:
            OSError: the host is out of descriptors.
        """
        with headroom.reserved():
            return cls(pid, os.pidfd_open(pid))

    def has_ended(self) -> bool:
        """Return whether the process has ended. A reaped process has ended, too."""
        if self.pidfd is None:
            return True
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def ended(self) -> None:
        """Wait until the process has ended."""
        if self.pidfd is not None:
            await readable(self.pidfd)

    def close(self) -> None:
        """Close the pidfd."""
        if self.pidfd is not None:
            os.close(self.pidfd)

    def signal_group(self, number: int) -> None:
        """Signal the process group, or only the process if it has not created its group yet."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            os.kill(self.pid, number)
