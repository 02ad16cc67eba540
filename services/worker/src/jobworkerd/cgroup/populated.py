"""Waits until a cgroup has no process left.

The kernel signals a change of `cgroup.events` with POLLPRI ("[un]populated notification" on the kernel's
page). asyncio waits for POLLIN only, and a control file is always ready for it. So asyncio waits for an epoll
descriptor, which is readable when one of its files has an event.
"""

import asyncio
import os
import select
from functools import partial

from jobworkerd.retry import retry_while_exhausted


class PopulatedWatcher:
    """Waits for any number of `cgroup.events` files; the owner of its epoll descriptor until `close`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def close(self) -> None:
        """Close the epoll descriptor. No call of `wait_empty` is pending."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    async def wait_empty(self, events: int) -> None:
        """Return when the cgroup has no process; `events` is the descriptor of its `cgroup.events`."""
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
            # The read acknowledges the event. Without it the file would stay ready.
            try:
                empty = not is_populated(events)
            except OSError:  # `wait_empty` checks again
                empty = True
            waiting = self._waiting.get(events)
            if empty and waiting and not waiting.done():
                waiting.set_result(None)


def is_populated(events: int) -> bool:
    """Return whether the cgroup has a process; `events` is the descriptor of its `cgroup.events`."""
    return b"populated 1" in os.pread(events, 4096, 0)
