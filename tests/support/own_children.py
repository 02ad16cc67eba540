"""A `Parent` for the process that calls it, without a keeper."""

import asyncio
from collections.abc import Sequence

from jobworkerd.keeper.children import Children

_RETRY_SECONDS = 0.01


class OwnChildren:
    """The children of this process, as the keeper's `Children` starts, kills and reaps them."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Without a loop, discarded children are reaped only by calls of `reap_discarded`."""
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._children = Children()

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """See `Parent.spawn`."""
        pid: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            pid.set_result(self._children.spawn(argv, descriptors))
        except OSError as error:
            pid.set_exception(error)
            pid.exception()  # marks it as retrieved: not every caller needs it
        return pid

    async def reap(self, pid: int) -> int:
        """See `Parent.reap`."""
        return self._children.reap(pid)

    def discard(self, pid: int, *, group: bool = True) -> None:
        """See `Parent.discard`."""
        self._children.discard(pid, group=group)
        self._reap_later()

    def reap_discarded(self) -> bool:
        """Reap the discarded children that have ended; return whether all have ended."""
        self._children.reap_discarded()
        return not self._children.discarded

    def close(self) -> None:
        """Leave the discarded children that have not ended to the end of this process."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _reap_later(self) -> None:
        """Reap in a timer: the keeper does so at SIGCHLD, which asyncio would have to share."""
        self.close()
        if self._loop and not self.reap_discarded():
            self._timer = self._loop.call_later(_RETRY_SECONDS, self._reap_later)
