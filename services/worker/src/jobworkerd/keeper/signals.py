"""The signals of the keeper: each becomes a byte in a socket, so that none interrupts its work."""

import signal
import socket

_DEFAULT_ACTION = frozenset(
    {
        *(signal.SIGKILL, signal.SIGSTOP),
        # Their default action is to do nothing, or to stop and continue the process.
        *(signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
        # The kernel sends them for errors of the program.
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT),
        *(signal.SIGSYS, signal.SIGTRAP),
    }
)


class Signals:
    """The owner of the signal handlers and of the socket that receives the numbers of the signals.

    A signal that was ignored before, such as SIGHUP by nohup(1), stays ignored.
    """

    def __init__(self) -> None:
        self.sock, self._write_end = socket.socketpair()
        self.sock.setblocking(False)  # noqa: FBT003 - positional-only
        self._write_end.setblocking(False)  # noqa: FBT003
        signal.set_wakeup_fd(self._write_end.fileno(), warn_on_full_buffer=False)
        for number in signal.valid_signals() - _DEFAULT_ACTION:
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _handle)

    def received(self) -> list[int]:
        """Return the signals since the last call."""
        try:
            return list(self.sock.recv(4096))
        except BlockingIOError:
            return []


def _handle(_number: int, _frame: object) -> None:
    """Do nothing: the wakeup socket has the number of the signal."""
