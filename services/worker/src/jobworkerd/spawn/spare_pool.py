"""The pool of processes that are forked ahead, so that no job waits for a fork (see `spare_process`)."""

import asyncio
import errno
import os
from collections import deque
from contextlib import ExitStack
from functools import partial

from jobworkerd.spawn import headroom
from jobworkerd.spawn.fork_client import ForkClient
from jobworkerd.spawn.spare import Spare, discard
from jobworkerd.spawn.spare_pipes import make_ends
from jobworkerd.spawn.spare_process import Setup
from jobworkerd.spawn.spare_request import SpareRequest

_AHEAD = 3
"""Target size of the pool: a client that starts a few jobs in a row waits for no fork."""

_ATTEMPTS = 3
"""All processes of the pool may have been killed; new ones that die, too, are no accident."""

_PATIENCE_SECONDS = 10
"""A fork server that forks nothing for so long is stuck, and is replaced."""


class Spares:
    """The owner of the fork server, and of the spare processes that no job has taken."""

    def __init__(self, setup: Setup) -> None:
        """Starts the fork server.

        Raises:
            OSError: it cannot be started.
        """
        self._fork_client = ForkClient(setup)
        self._asked: deque[SpareRequest] = deque()
        self._generation = 0

    @property
    def left(self) -> int:
        """The number of processes in the pool, ready or requested."""
        return len(self._asked)

    async def take(self) -> Spare:
        """Returns a spare process from the pool, or a new one if the pool is empty.

        Raises:
            OSError: the host is exhausted. Nothing is left behind.
        """
        for _ in range(_AHEAD + _ATTEMPTS):
            if not self._asked:
                self._ask()
                # The host is busy: while this caller waits, the fork server works for the next ones.
                self.refill()
            request = self._asked.popleft()
            spare = await self._receive(request)
            if spare and request.generation == self._generation and not spare.has_ended():
                return spare
            if spare:  # it was killed, or is outdated: try the next one
                discard(spare)
        raise OSError(errno.EAGAIN, "the processes that are to become jobs die while they are made", "fork")

    def refill(self) -> None:
        """Tops up the pool to its target size. A caller of `take` waits if a process is not ready yet.

        Ignores exhaustion: the next `take` retries and reports the error to its client.
        """
        self._drop_outdated()
        try:
            while len(self._asked) < _AHEAD:
                self._ask()
        except OSError:
            return

    def drop(self) -> None:
        """Ends the processes of the pool: at once, or as soon as they are ready."""
        self._generation += 1
        self._drop_outdated()

    def close(self) -> None:
        """Ends the processes of the pool and the fork server."""
        while self._asked:
            request = self._asked.popleft()
            request.orders.settimeout(_PATIENCE_SECONDS)
            request.end()
        self._fork_client.end()

    def _drop_outdated(self) -> None:
        kept = (each for each in self._asked if each.generation == self._generation or not each.end())
        self._asked = deque(kept)

    def _ask(self) -> None:
        """Requests one spare process."""
        with headroom.kept(), ExitStack() as on_failure:
            (stdout, stderr, orders), childs = make_ends()
            for close in (orders.close, partial(os.close, stdout), partial(os.close, stderr)):
                on_failure.callback(close)
            try:
                self._fork_client.send(childs)
            finally:
                for descriptor in childs:
                    os.close(descriptor)
            on_failure.pop_all()
        request = SpareRequest(self._fork_client.process, self._generation, stdout, stderr, orders)
        self._asked.append(request)

    async def _receive(self, request: SpareRequest) -> Spare | None:
        """Returns the requested process; None if it will never be ready, and the caller has to ask again.

        Raises:
            OSError: the process could not be made.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await request.ready()
        except asyncio.CancelledError:
            self._asked.appendleft(request)
            raise
        except TimeoutError:
            if request.fork_server is self._fork_client.process:
                self._fork_client.end()
        except (ValueError, ConnectionResetError):
            # The fork server died, or the process during its set-up.
            pass
        except OSError:
            request.abandon()
            raise
        request.abandon()
        return None
