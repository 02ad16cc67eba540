"""Tells when a cgroup has no process any more.

The kernel marks a change of `cgroup.events` with POLLPRI ("[un]populated notification" on the kernel's
page). asyncio can wait for input only, and by that measure such a file is always ready; but an epoll is
itself a file that has input as soon as one of its own is ready.
"""

import asyncio
import os
import select
from functools import partial

from jobworkerd.retry import retry_while_exhausted


class PopulatedWatcher:
    """Waits on any number of `cgroup.events` files; the owner of its epoll until `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def close(self) -> None:
        """Ends watching; nobody waits any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    async def wait_empty(self, events: int) -> None:
        """Returns once the cgroup whose `cgroup.events` the descriptor reads has no process."""
        await retry_while_exhausted(partial(self._epoll.register, events, select.EPOLLPRI))
        try:
            while await retry_while_exhausted(partial(is_populated, events)):
                future = self._waiting[events] = self._loop.create_future()
                await future
        finally:
            self._waiting.pop(events, None)
            self._epoll.unregister(events)

    def _on_events(self) -> None:
        for events, _ in self._epoll.poll(0):
            # Reading says that the change was seen; without it the file would stay ready.
            try:
                empty = not is_populated(events)
            except OSError:  # the one that waits looks again
                empty = True
            waiting = self._waiting.get(events)
            if empty and waiting and not waiting.done():
                waiting.set_result(None)


def is_populated(events: int) -> bool:
    """True if the cgroup whose `cgroup.events` the descriptor reads has a process."""
    return b"populated 1" in os.pread(events, 4096, 0)
