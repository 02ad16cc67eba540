"""The interface to the parent of the jobs' processes."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol


class Parent(Protocol):
    """The process whose children are the fork server, the spare processes, the inits and the main processes.

    A PID stays valid until `reap` or `discard`: a child that has ended remains a zombie.
    """

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """Start a child in a new process group. Its stdin is /dev/null. The call never waits.

        The child inherits `descriptors` under other numbers: `{0}` in `argv` stands for the number of the
        first one in the child, `{1}` for the second. The caller can close them immediately. The returned
        future has the PID. It fails with an OSError if the child cannot be started.

        Raises:
            OSError: the host is exhausted.
        """

    def reap(self, pid: int) -> Awaitable[int]:
        """Reap a child that has ended, and return its wait status (see waitpid(2))."""

    def discard(self, pid: int, *, group: bool = True) -> None:
        """Kill a child, and by default the process group that it leads. They are reaped when they end.

        The call never waits. The PID is invalid afterwards.
        """
