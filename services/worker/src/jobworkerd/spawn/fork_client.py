"""The supervisor's connection to the fork server."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.spare_setup import Setup

FORK_SERVER: Sequence[str] = (sys.executable, "-P", "-m", "jobworkerd.spawn.fork_server", "{0}", "{1}")
"""The command of the fork server; see `Parent.spawn` for the numbers in braces."""


class ForkServer:
    """The owner of one fork server process (see `fork_server`) and its socket, until `end`."""

    def __init__(self, setup: Setup, parent: Parent) -> None:
        """Start the process. It handles the messages that wait in its socket as soon as it runs.

        Raises:
            OSError: the host is exhausted.
        """
        self._parent = parent
        self._socket, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)  # noqa: FBT003 - it takes no keyword
        try:
            with child_end:
                self.pid = self._spawn(setup, child_end)
        except OSError:
            self._socket.close()
            raise

    def _spawn(self, setup: Setup, sock: socket.socket) -> "asyncio.Future[int]":
        setup_file = setup.write()
        try:
            return self._parent.spawn(FORK_SERVER, [sock.fileno(), setup_file])
        finally:
            os.close(setup_file)

    @property
    def error(self) -> OSError | None:
        """The reason why the process has not been started, or not yet; None if it was started."""
        if not self.pid.done():
            return OSError(errno.EAGAIN, "the main process of the server does not answer", "spawn")
        error = self.pid.exception()
        return error if isinstance(error, OSError) else None

    def send(self, descriptors: list[int]) -> None:
        """Send the descriptors of a new spare process.

        Raises:
            ConnectionError: the process has ended.
            OSError: the host is exhausted, or too many requests wait.
        """
        socket.send_fds(self._socket, [b"!"], descriptors)

    def end(self) -> None:
        """End the process, or let it end as soon as it has started."""
        self._socket.close()
        if self.pid.done():
            self._discard(self.pid)
        else:
            self.pid.add_done_callback(self._discard)

    def _discard(self, pid: "asyncio.Future[int]") -> None:
        if not pid.exception():
            self._parent.discard(pid.result())


class ForkClient:
    """The owner of the current fork server. Replaces a fork server that has died."""

    def __init__(self, setup: Setup, parent: Parent) -> None:
        """Start the fork server.

        Raises:
            OSError: the host is exhausted.
        """
        self._setup = setup
        self._parent = parent
        self.current: ForkServer | None = ForkServer(setup, parent)

    def send(self, descriptors: list[int]) -> ForkServer:
        """Send the descriptors of a new spare process to the fork server, or to a new one if it has ended.

        If the returned fork server ends before it has forked, the caller finds the control socket closed, and
        repeats its request.

        Raises:
            OSError: the host is exhausted.
        """
        server = self._running()
        try:
            server.send(descriptors)
        except ConnectionError:
            self.end()
            server = self._running()
            with suppress(ConnectionError):
                server.send(descriptors)
        return server

    def _running(self) -> ForkServer:
        if self.current is None:
            self.current = ForkServer(self._setup, self._parent)
        return self.current

    def replace(self, server: ForkServer) -> OSError | None:
        """Let another fork server handle later requests. Return the error of this one, if it was the current
        one.
        """
        if server is not self.current:
            return None
        self.end()
        return server.error

    def end(self) -> None:
        """End the fork server if it runs."""
        if self.current:
            self.current.end()
            self.current = None
