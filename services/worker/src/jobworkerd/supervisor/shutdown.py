"""Signal handlers. No signal that can be handled ends the supervisor in the middle of its work."""

import asyncio
import signal
from functools import partial

from jobworkerd.signals import signal_name
from jobworkerd.supervisor.event_log import EventLog
from jobworkerd.supervisor.jobs import Jobs

_SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_DEFAULT_ACTION = frozenset(
    {
        *(signal.SIGKILL, signal.SIGSTOP),
        # Their default action is to do nothing, or to stop and continue the process.
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH),
        *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
        # The kernel sends them for errors of the program.
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT),
        *(signal.SIGSYS, signal.SIGTRAP),
    }
)


class Shutdown:
    """The first SIGTERM, SIGINT or SIGQUIT requests the shutdown. The second one kills all jobs.

    All other signals that would end the process are logged and have no effect. A signal that was ignored
    before stays ignored. The keeper forwards its own signals with `handle`.
    """

    def __init__(self, jobs: Jobs, events: EventLog) -> None:
        self.requested = asyncio.Event()
        self._jobs = jobs
        self._events = events
        self._loop = asyncio.get_running_loop()
        possible = map(int, signal.valid_signals() - _DEFAULT_ACTION)
        self._handled = [number for number in possible if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._handled:
            self._loop.add_signal_handler(number, partial(self.handle, number))

    def close(self) -> None:
        """Restore the default actions."""
        for number in self._handled:
            self._loop.remove_signal_handler(number)

    def handle(self, number: int) -> None:
        """Handle a signal that this process or the keeper has received."""
        if number not in _SHUTDOWN_SIGNALS:
            self._events.warning("signal ignored", signal=signal_name(number))
            return
        if self.requested.is_set():
            self._jobs.kill_all()
        self.requested.set()
