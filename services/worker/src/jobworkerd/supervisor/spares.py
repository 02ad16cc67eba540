"""Processes that are forked ahead, so that no job waits for a fork (see `forkserver`, `spare_process`)."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from jobworkerd.supervisor import headroom
from jobworkerd.supervisor.spare_process import Setup

_PIPE_BYTES = 1 << 20
"""As far as an unprivileged process may enlarge a pipe (/proc/sys/fs/pipe-max-size, pipe(7))."""

_AHEAD = 3
"""How many are forked ahead: a client that starts a few jobs in a row waits for no fork."""

_ATTEMPTS = 3
"""Those that were made ahead may all be gone; but new ones that are, too, are no accident."""

_PATIENCE_SECONDS = 10
"""A fork server that forks nothing for so long does not do its work, and is replaced."""

REPORT_BYTES = 256
"""No report is longer (see `spare_process`)."""


@dataclass(frozen=True)
class Spare:
    """A process that waits for its order; the receiver closes the descriptors and reaps the process.

    `orders` takes the order and gives the reports (see `spare_process`); `stdout` and `stderr` are the
    reading ends of the job's pipes. `init` is the process 1 of its PID namespace, to be reaped, too, and 0
    if there is none; `refused` the errnos of those parts of its isolation that the kernel refused.
    """

    pid: int
    stdout: int
    stderr: int
    orders: socket.socket
    init: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    def has_ended(self) -> bool:
        """Tells whether it was killed, or its init was: nothing can be started in such a PID namespace."""
        return has_ended(self.pid) or bool(self.init and has_ended(self.init))


@dataclass(frozen=True)
class _Ends:
    """Our ends of what a spare process will have."""

    stdout: int
    stderr: int
    orders: socket.socket

    def close(self) -> None:
        self.orders.close()
        os.close(self.stdout)
        os.close(self.stderr)


class Spares:
    """The owner of the fork server, and of the processes that nobody took."""

    def __init__(self, setup: Setup) -> None:
        """Starts the fork server.

        Raises:
            OSError: it cannot be started.
        """
        self._setup = setup
        self._asked: deque[_Ends] = deque()
        self._socket: socket.socket | None = None
        self._start()

    @property
    def left(self) -> int:
        """How many were forked ahead, or will be without being asked for again."""
        return len(self._asked)

    def take(self) -> Spare:
        """Returns a spare process: one that was forked ahead, or else a new one.

        Raises:
            OSError: the host lacks something. Nothing is left behind.
        """
        for _ in range(_AHEAD + _ATTEMPTS):
            if not self._asked:
                self._ask()
            spare = self._receive(self._asked.popleft())
            if spare and not spare.has_ended():
                return spare
            if spare:  # it was killed: try the next one
                discard(spare)
        raise OSError(errno.EAGAIN, "the processes that are to become jobs die while they are made", "fork")

    def refill(self) -> None:
        """Has as many forked as are to be there; whoever takes one waits for it, if it comes to that.

        Where the host lacks something none is missed: the next job asks for itself, or fails itself.
        """
        try:
            while len(self._asked) < _AHEAD:
                self._ask()
        except OSError:
            return

    def close(self) -> None:
        """Ends the fork server and the processes that nobody took."""
        while self._asked:
            with suppress(OSError):
                if spare := self._receive(self._asked.popleft()):
                    discard(spare)
        self._end()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                setup = self._setup.write()
                try:
                    self._process = _spawn(theirs.fileno(), setup)
                finally:
                    os.close(setup)
        except OSError:
            ours.close()
            raise
        self._socket = ours

    def _end(self) -> None:
        """Ends the fork server, if there is one."""
        if self._socket:
            self._socket.close()
            self._socket = None
            self._process.kill()
            self._process.wait()

    def _ask(self) -> None:
        """Asks for one spare process."""
        with headroom.kept():
            ends, childs = _make_ends()
            try:
                self._hand_over(childs)
            except OSError:
                ends.close()
                raise
            finally:
                for descriptor in childs:
                    os.close(descriptor)
        self._asked.append(ends)

    def _hand_over(self, descriptors: list[int]) -> None:
        """Sends a new process's descriptors to the fork server. One that is gone is replaced; what it was
        asked for is not to come then, as `_receive` finds.
        """
        if self._socket is None:
            self._start()
        assert self._socket
        try:
            socket.send_fds(self._socket, [b"!"], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            self._end()
            self._start()

    def _receive(self, ends: _Ends) -> Spare | None:
        """Returns the process that these are the ends of; None if there came none, and another has to be
        asked for.

        Raises:
            OSError: it could not be forked.
        """
        made: list[int] = []
        try:
            return _read_spare(ends, made)
        except TimeoutError:
            self._end()
        except (ValueError, ConnectionResetError):
            # The fork server died, or the process while it was set up.
            pass
        except OSError:
            _abandon(ends, made)
            raise
        _abandon(ends, made)
        return None


def _read_spare(ends: _Ends, made: list[int]) -> Spare:
    """Returns the process once it is ready; `made` takes the id of each process that there is until then.

    Raises:
        OSError: it could not be made.
        ValueError: no more is said of it.
    """
    while True:
        word, *rest = ends.orders.recv(REPORT_BYTES).split()
        if word == b"made":
            made.append(int(rest[0]))
        elif word == b"ready":
            pid, init, *refused = rest
            return Spare(int(pid), ends.stdout, ends.stderr, ends.orders, int(init), refused_parts(refused))
        else:
            raise OSError(int(rest[1]), os.strerror(int(rest[1])), rest[0].decode())


def _abandon(ends: _Ends, made: list[int]) -> None:
    """Ends what was made of a process that will not be ready."""
    ends.close()
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def refused_parts(words: Iterable[bytes]) -> dict[str, int]:
    """Returns the errnos of refused parts, as a report has them."""
    pairs = (word.decode().split("=") for word in words)
    return {part: int(number) for part, number in pairs}


def discard(spare: Spare) -> None:
    """Ends a process that has no order, and gives back what it has."""
    spare.orders.close()
    os.close(spare.stdout)
    os.close(spare.stderr)
    reap(spare.pid)
    if spare.init:
        reap(spare.init)


def _spawn(sock: int, setup: int) -> "subprocess.Popen[bytes]":
    argv = [sys.executable, "-P", "-m", "jobworkerd.supervisor.forkserver", str(sock), str(setup)]
    return subprocess.Popen(  # noqa: S603 - our own module
        argv, pass_fds=(sock, setup), stdin=subprocess.DEVNULL, process_group=0
    )


def reap(pid: int) -> None:
    """Kills a spare process, and one that was made of it and has not said so yet; waits for their ends.

    Until it has said so nobody knows that one's id, but it is in the same process group.
    """
    os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)


def _make_ends() -> tuple[_Ends, list[int]]:
    """Returns our ends, and the descriptors that the fork server takes."""
    with ExitStack() as on_failure:

        def pipe() -> tuple[int, int]:
            read_end, write_end = os.pipe2(os.O_CLOEXEC)
            on_failure.callback(os.close, read_end)
            on_failure.callback(os.close, write_end)
            os.set_blocking(read_end, False)
            _enlarge(read_end)
            return read_end, write_end

        stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        on_failure.callback(os.close, stdin)
        (stdout, stdout_end), (stderr, stderr_end) = pipe(), pipe()
        ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_PATIENCE_SECONDS)
        on_failure.pop_all()
    return _Ends(stdout, stderr, ours), [stdin, stdout_end, stderr_end, childs.detach()]


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # Memory is used up, or the user's share of pipe pages (pipe(7)): a small one serves.
        return


def has_ended(pid: int) -> bool:
    """Tells whether a child, which nobody has waited for, has ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
