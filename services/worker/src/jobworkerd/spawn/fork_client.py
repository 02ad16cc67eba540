"""The supervisor's connection to the fork server."""

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from jobworkerd.spawn.parent import Parent
from jobworkerd.spawn.spare_setup import Setup

FORK_SERVER: Sequence[str] = (sys.executable, "-P", "-m", "jobworkerd.spawn.fork_server", "{0}", "{1}")
"""The command of the fork server; see `Parent.spawn` for the numbers in braces."""


class ForkClient:
    """The owner of the fork server process (see `fork_server`). Restarts a fork server that has died."""

    pid: int
    """The PID of the current fork server, or of the last one if none runs."""

    def __init__(self, setup: Setup, parent: Parent) -> None:
        """Start the fork server.

        Raises:
            OSError: the fork server cannot be started.
        """
        self._setup = setup
        self._parent = parent
        self._socket: socket.socket | None = None
        self._start()

    def send(self, descriptors: list[int]) -> None:
        """Send the descriptors of a new spare process to the fork server, or to a new one if it has ended.

        If the fork server ends before it has forked, the caller finds the control socket closed, and repeats
        its request.

        Raises:
            OSError: the host is exhausted.
        """
        try:
            self._send(descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self.end()
            with suppress(BrokenPipeError, ConnectionResetError):
                self._send(descriptors)

    def _send(self, descriptors: list[int]) -> None:
        if self._socket is None:
            self._start()
        assert self._socket
        socket.send_fds(self._socket, [b"!"], descriptors)

    def end(self) -> None:
        """End the fork server if it runs."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self._parent.discard(self.pid)

    def _start(self) -> None:
        parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with child_end:
                setup = self._setup.write()
                try:
                    self.pid = self._parent.spawn(FORK_SERVER, [child_end.fileno(), setup])
                finally:
                    os.close(setup)
        except OSError:
            parent_end.close()
            raise
        self._socket = parent_end
