"""The supervisor's connection to the fork server."""

import os
import socket
import subprocess
import sys

from jobworkerd.spawn.spare_setup import Setup


class ForkClient:
    """The owner of the fork server process (see `fork_server`). Restarts a fork server that has died."""

    process: "subprocess.Popen[bytes]"
    """The current fork server, or the last one if none runs."""

    def __init__(self, setup: Setup) -> None:
        """Start the fork server.

        Raises:
            OSError: the fork server cannot be started.
        """
        self._setup = setup
        self._socket: socket.socket | None = None
        self._start()

    def send(self, descriptors: list[int]) -> None:
        """Send the descriptors of a new spare process to the fork server.

        Replaces a fork server that has ended. The new one does not receive the descriptors: the caller finds
        the control socket closed, and repeats its request.

        Raises:
            OSError: the host is exhausted.
        """
        if self._socket is None:
            self._start()
        assert self._socket
        try:
            socket.send_fds(self._socket, [b"!"], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self.end()
            self._start()

    def end(self) -> None:
        """Kill and reap the fork server if it runs."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self.process.kill()
            self.process.wait()

    def _start(self) -> None:
        parent_end, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with child_end:
                setup = self._setup.write()
                try:
                    self.process = _spawn(child_end.fileno(), setup)
                finally:
                    os.close(setup)
        except OSError:
            parent_end.close()
            raise
        self._socket = parent_end


def _spawn(sock: int, setup: int) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-P", "-m", "jobworkerd.spawn.fork_server", str(sock), str(setup)]
    return subprocess.Popen(  # noqa: S603 - a module of this package
        argv, pass_fds=(sock, setup), stdin=subprocess.DEVNULL, process_group=0
    )
