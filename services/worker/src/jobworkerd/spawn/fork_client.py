"""The supervisor's end of the fork server: its process and its socket."""

import os
import socket
import subprocess
import sys

from jobworkerd.spawn.spare_process import Setup


class ForkClient:
    """The owner of the fork server's process (see `forkserver`), which it starts again after its end."""

    process: "subprocess.Popen[bytes]"
    """The fork server that was started last."""

    def __init__(self, setup: Setup) -> None:
        """Starts the fork server.

        Raises:
            OSError: it cannot be started.
        """
        self._setup = setup
        self._socket: socket.socket | None = None
        self._start()

    def send(self, descriptors: list[int]) -> None:
        """Sends the descriptors of a new spare process to the fork server.

        Replaces a fork server that has ended. The new one does not get the descriptors: the requester finds
        the control socket closed, and asks again.

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
        """Ends the fork server if it runs."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self.process.kill()
            self.process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                setup = self._setup.write()
                try:
                    self.process = _spawn(theirs.fileno(), setup)
                finally:
                    os.close(setup)
        except OSError:
            ours.close()
            raise
        self._socket = ours


def _spawn(sock: int, setup: int) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-P", "-m", "jobworkerd.spawn.fork_server", str(sock), str(setup)]
    return subprocess.Popen(  # noqa: S603 - our own module
        argv, pass_fds=(sock, setup), stdin=subprocess.DEVNULL, process_group=0
    )
