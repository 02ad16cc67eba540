"""The pool of preforked processes, so that no job waits for a fork (see `spare_process`)."""

import asyncio
import errno
import os
import select
import time
from collections import deque
from contextlib import ExitStack
from functools import partial

from jobworkerd.spawn import headroom
from jobworkerd.spawn.fork_client import ForkClient
from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.spare import Spare, discard
from jobworkerd.spawn.spare_pipes import open_ends
from jobworkerd.spawn.spare_request import SpareRequest
from jobworkerd.spawn.spare_setup import Setup

_TARGET_SIZE = 3
"""A client that starts this many jobs in a row does not wait for a fork."""

_ATTEMPTS = 9
"""Attempts with new processes, after those of the pool. If all of them die, `take` fails.

A fork server that is killed takes up to three requests with it, so `take` survives three kills.
"""

_TIMEOUT_SECONDS = 10
"""The pool replaces a fork server that does not fork within this time."""

_CLOSE_SECONDS = 1.0
"""The end of the server waits this long for all processes of the pool together."""


class SparePool:
    """The owner of the fork server, and of the spare processes that no job has taken."""

    def __init__(self, setup: Setup, parent: Parent) -> None:
        """Start the fork server.

        Raises:
            OSError: the fork server cannot be started.
        """
        self._parent = parent
        self._fork_client = ForkClient(setup, parent)
        self._requests: deque[SpareRequest] = deque()
        self._outdated: list[SpareRequest] = []
        self._generation = 0

    @property
    def size(self) -> int:
        """The number of processes in the pool, ready or requested."""
        return len(self._requests)

    async def take(self) -> Spare:
        """Return a spare process from the pool, or a new one if the pool is empty.

        Raises:
            OSError: the host is exhausted. No resources are left behind.
        """
        for _ in range(_TARGET_SIZE + _ATTEMPTS):
            if not self._requests:
                self._request()
                # The host is busy. The fork server works for the next callers while this one waits.
                self.refill()
            request = self._requests.popleft()
            spare = await self._receive(request)
            if spare and request.generation == self._generation and not spare.has_ended():
                return spare
            if spare:  # killed or outdated: try the next one
                discard(spare, self._parent)
        raise OSError(errno.EAGAIN, "spare processes die during their preparation", "fork")

    def refill(self) -> None:
        """Top up the pool to its target size. A caller of `take` waits if a process is not ready yet.

        Ignores exhaustion: the next `take` retries and reports the error to its client.
        """
        self._end_outdated()
        try:
            while len(self._requests) < _TARGET_SIZE:
                self._request()
        except OSError:
            return

    def drop(self) -> None:
        """End the processes of the pool immediately, or when they become ready."""
        self._generation += 1
        self._outdated += self._requests
        self._requests.clear()
        self._end_outdated()

    def close(self) -> None:
        """End the processes of the pool and the fork server.

        A process that does not become ready within `_CLOSE_SECONDS` ends when it finds its socket closed.
        """
        self.drop()
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._outdated and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            for request in self._outdated:
                poll.register(request.control, select.POLLIN)
            poll.poll(left * 1_000)
            self._end_outdated()
        for request in self._outdated:
            request.abandon()
        self._fork_client.end()

    def _end_outdated(self) -> None:
        """End the outdated processes that are ready or have failed."""
        self._outdated = [each for each in self._outdated if not each.end()]

    def _request(self) -> None:
        """Request one spare process from the fork server."""
        with headroom.reserved(), ExitStack() as on_failure:
            (stdout, stderr, control), child_ends = open_ends()
            for close in (control.close, partial(os.close, stdout), partial(os.close, stderr)):
                on_failure.callback(close)
            try:
                server = self._fork_client.send(child_ends)
            finally:
                for descriptor in child_ends:
                    os.close(descriptor)
            on_failure.pop_all()
        request = SpareRequest(self._parent, server, self._generation, stdout, stderr, control)
        self._requests.append(request)

    async def _receive(self, request: SpareRequest) -> Spare | None:
        """Return the requested process; None if it died, and the caller must request another one.

        Raises:
            OSError: the process could not be created.
        """
        server = request.fork_server
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await request.ready()
        except asyncio.CancelledError:
            if request.generation == self._generation:
                self._requests.appendleft(request)
            else:
                self._outdated.append(request)
            raise
        except TimeoutError:
            error = self._fork_client.replace(server)
        except (EOFError, ValueError):
            # The fork server could not be started or died, or the process died during its preparation.
            error = self._fork_client.replace(server) if server.error else None
        except OSError as reported:
            error = reported
        request.abandon()
        if error:
            raise error
        return None
