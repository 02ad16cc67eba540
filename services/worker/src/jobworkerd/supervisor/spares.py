"""Processes that are forked ahead, so that no job waits for a fork (see `forkserver`, `spare_process`)."""

import asyncio
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
from functools import partial

from jobworkerd.supervisor import headroom
from jobworkerd.supervisor.readable import readable
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
class _Request:
    """A spare process that the fork server was asked for: our ends of what it will have, and each process
    that was made for it so far.

    `generation` counts how often processes had been dropped before, as the host had changed.
    """

    fork_server: "subprocess.Popen[bytes]"
    generation: int
    stdout: int
    stderr: int
    orders: socket.socket
    made: list[int] = field(default_factory=list)

    def take(self, report: bytes) -> Spare | None:
        """Takes a report; returns the process once it is ready.

        Raises:
            ValueError: the report is empty: no more will come.
            OSError: it could not be made.
        """
        word, *rest = report.split()
        if word == b"ready":
            pid, init, *refused = rest
            parts = refused_parts(refused)
            return Spare(int(pid), self.stdout, self.stderr, self.orders, int(init), parts)
        if word != b"made":
            raise OSError(int(rest[1]), os.strerror(int(rest[1])), rest[0].decode())
        self.made.append(int(rest[0]))
        return None

    def end(self) -> bool:
        """Ends the process if it is ready, or will not be; returns False if that is not known yet."""
        spare = None
        while spare is None:
            try:
                report = self.orders.recv(REPORT_BYTES)
            except BlockingIOError:
                return False
            except OSError:
                report = b""
            try:
                spare = self.take(report)
            except (ValueError, OSError):
                self.abandon()
                return True
        discard(spare)
        return True

    def abandon(self) -> None:
        """Ends what was made of a process that will not be ready."""
        self.orders.close()
        os.close(self.stdout)
        os.close(self.stderr)
        for pid in self.made:
            end(pid)


class Spares:
    """The owner of the fork server, and of the processes that nobody took."""

    def __init__(self, setup: Setup) -> None:
        """Starts the fork server.

        Raises:
            OSError: it cannot be started.
        """
        self._setup = setup
        self._asked: deque[_Request] = deque()
        self._generation = 0
        self._socket: socket.socket | None = None
        self._start()

    @property
    def left(self) -> int:
        """How many were forked ahead, or will be without being asked for again."""
        return len(self._asked)

    async def take(self) -> Spare:
        """Returns a spare process: one that was forked ahead, or else a new one.

        Raises:
            OSError: the host lacks something. Nothing is left behind.
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
        """Ends the processes that were forked ahead: at once, or as soon as they are ready."""
        self._generation += 1
        self._drop_outdated()

    def close(self) -> None:
        """Ends the fork server and the processes that nobody took."""
        while self._asked:
            request = self._asked.popleft()
            request.orders.settimeout(_PATIENCE_SECONDS)
            request.end()
        self._end()

    def _drop_outdated(self) -> None:
        kept = (each for each in self._asked if each.generation == self._generation or not each.end())
        self._asked = deque(kept)

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
        with headroom.kept(), ExitStack() as on_failure:
            (stdout, stderr, orders), childs = _make_ends()
            for close in (orders.close, partial(os.close, stdout), partial(os.close, stderr)):
                on_failure.callback(close)
            try:
                self._hand_over(childs)
            finally:
                for descriptor in childs:
                    os.close(descriptor)
            on_failure.pop_all()
        self._asked.append(_Request(self._process, self._generation, stdout, stderr, orders))

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

    async def _receive(self, request: _Request) -> Spare | None:
        """Returns the process that was asked for; None if it will not come, and another has to be asked for.

        Raises:
            OSError: it could not be made.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await _ready(request)
        except asyncio.CancelledError:
            self._asked.appendleft(request)
            raise
        except TimeoutError:
            if request.fork_server is self._process:
                self._end()
        except (ValueError, ConnectionResetError):
            # The fork server died, or the process while it was set up.
            pass
        except OSError:
            request.abandon()
            raise
        request.abandon()
        return None


async def _ready(request: _Request) -> Spare:
    """Waits until the process is ready, and returns it; raises as `_Request.take`."""
    while True:
        try:
            report = request.orders.recv(REPORT_BYTES)
        except BlockingIOError:
            await readable(request.orders.fileno())
        else:
            if spare := request.take(report):
                return spare


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


def end(pid: int) -> None:
    """Kills a child, wherever it is in its making, and waits for its end."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def signal_group(leader: int, number: int) -> None:
    """Signals a process group; its leader alone if that has just been made and leads none yet."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        os.kill(leader, number)


def reap(pid: int) -> None:
    """Kills a spare process, and one that was made of it and has not said so yet; waits for their ends.

    Until it has said so nobody knows that one's id, but it is in the same process group.
    """
    os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-pid, 0)


def _make_ends() -> tuple[tuple[int, int, socket.socket], list[int]]:
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
        ours.setblocking(False)  # noqa: FBT003 - it takes no keyword
        on_failure.pop_all()
    return (stdout, stderr, ours), [stdin, stdout_end, stderr_end, childs.detach()]


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        # Memory is used up, or the user's share of pipe pages (pipe(7)): a small one serves.
        return


def has_ended(pid: int) -> bool:
    """Tells whether a child, which nobody has waited for, has ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
