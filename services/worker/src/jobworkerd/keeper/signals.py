"""The signals of the keeper: each becomes a byte in a socket, so that none interrupts its work."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_IGNORED = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH})
_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_FAULTS = frozenset(
    {
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
_DEFAULT_ACTION = _IGNORED | _STOPS | _FAULTS


class Signals:
    """The owner of the signal handlers, and of the socket that is readable when signals have arrived."""

    def __init__(self) -> None:
        self.sock, self._wakeup = socket.socketpair()

    def handle(self) -> None:
        """Receive all signals from now on. Ignored ones, such as SIGHUP by nohup(1), stay ignored."""
        for each in (self.sock, self._wakeup):
            each.setblocking(False)  # noqa: FBT003 - it takes no keyword
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in signal.valid_signals() - _DEFAULT_ACTION:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _ignore)
        _unblock()

    def received(self) -> bytes:
        """Return the numbers of the signals since the last call."""
        try:
            return self.sock.recv(4_096)
        except BlockingIOError:
            return b""

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Let signals wait until the end of the context, or until another program handles them."""
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        try:
            yield
        finally:
            _unblock()


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _ignore(*_: object) -> None:
    """Handle a signal: its number arrives at the wakeup descriptor."""
