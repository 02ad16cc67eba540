"""A `Parent` for the process that calls it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Sequence
from contextlib import suppress

_FIRST_DELAY_SECONDS = 0.001
_LAST_DELAY_SECONDS = 1.0
"""The kernel can hold a killed process that uses a frozen file system, or a network file system without a
server.
"""


class OwnChildren:
    """The children of this process, and those that are discarded but have not ended yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Without a loop, discarded children are reaped only by calls of `reap_discarded`."""
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._discarded: set[int] = set()

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> int:
        """See `Parent.spawn`."""
        command = [each.format(*descriptors) for each in argv]
        null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        _set_inheritable(descriptors, inheritable=True)
        try:
            return os.posix_spawn(command[0], command, os.environ, file_actions=[null], setpgroup=0)
        finally:
            _set_inheritable(descriptors, inheritable=False)

    def reap(self, pid: int) -> Awaitable[int]:
        """See `Parent.reap`."""
        return _reaped(pid)

    def discard(self, pid: int, *, group: bool = True) -> None:
        """See `Parent.discard`."""
        if group:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._discarded.add(-pid)
        os.kill(pid, signal.SIGKILL)
        self._discarded.add(pid)
        self.reap_discarded()
        self._reap_later(_FIRST_DELAY_SECONDS)

    def reap_discarded(self) -> bool:
        """Reap the discarded children that have ended; return whether all have ended."""
        # Groups come first: without its leader, a group is still found by the PIDs of its other processes.
        for target in sorted(self._discarded):
            with suppress(ChildProcessError):
                while os.waitpid(target, os.WNOHANG)[0]:
                    pass
                continue  # it has not ended
            self._discarded.remove(target)
        return not self._discarded

    def close(self) -> None:
        """Leave the discarded children that have not ended to the end of this process."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _reap_later(self, delay: float) -> None:
        # A timer needs no descriptor, which an exhausted host may lack.
        if self._discarded and self._loop:
            self.close()
            self._timer = self._loop.call_later(delay, self._retry, delay)

    def _retry(self, delay: float) -> None:
        self.reap_discarded()
        self._reap_later(min(2 * delay, _LAST_DELAY_SECONDS))


async def _reaped(pid: int) -> int:
    reaped, wait_status = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG
    if not reaped:
        raise BlockingIOError(f"process {pid} has not ended")
    return wait_status


def _set_inheritable(descriptors: Sequence[int], *, inheritable: bool) -> None:
    for descriptor in descriptors:
        os.set_inheritable(descriptor, inheritable)
