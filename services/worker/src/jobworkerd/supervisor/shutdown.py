"""What the supervisor does on signals: none that it can handle ends it in the middle of its work."""

import asyncio
import signal
from functools import partial

from jobworkerd.signals import signal_name
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.jobs import Jobs

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

_AS_THEY_ARE = frozenset(
    {
        *(signal.SIGKILL, signal.SIGSTOP),
        # They do nothing, or stop the process for a while.
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
        # The kernel sends them for a fault of the program.
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT),
        *(signal.SIGSYS, signal.SIGTRAP),
    }
)


class Shutdown:
    """The first SIGTERM, SIGINT, SIGQUIT or SIGHUP asks for the end, the second kills all jobs at once.

    Every other signal whose default action would end the process is logged and has no effect. A signal that
    the server's caller had ignored, as nohup(1) does with SIGHUP, stays ignored.
    """

    def __init__(self, jobs: Jobs, events: EventLog) -> None:
        self.asked = asyncio.Event()
        self._jobs = jobs
        self._events = events
        self._loop = asyncio.get_running_loop()
        possible = map(int, signal.valid_signals() - _AS_THEY_ARE)
        self._handled = [number for number in possible if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._handled:
            handler = self._on_end if number in _ENDING else partial(self._on_other, number)
            self._loop.add_signal_handler(number, handler)

    def close(self) -> None:
        """Restores the default actions."""
        for number in self._handled:
            self._loop.remove_signal_handler(number)

    def _on_end(self) -> None:
        if self.asked.is_set():
            self._jobs.kill_all()
        self.asked.set()

    def _on_other(self, number: int) -> None:
        self._events.warning("signal without effect", signal=signal_name(number))
