"""Notifies systemd of the state of the service (sd_notify(3)). Does nothing without systemd."""

import os
import socket
import time
from contextlib import suppress

from jobworkerd.keeper.timers import is_due

_TIMEOUT_SECONDS = 1.0


def notify(state: str) -> None:
    """Send a state such as `READY=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A missing or stopped service manager must not end or block the keeper.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        # A leading @ represents the NUL byte of an abstract address (unix(7)).
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())


class Watchdog:
    """Tells systemd twice per `WatchdogSec=` that the keeper works (sd_watchdog_enabled(3)).

    A supervisor that does not work is not reported: systemd would kill the jobs with it.
    """

    def __init__(self) -> None:
        self.due_at: float | None = None
        """The time of the next report; None without a watchdog."""
        interval = os.environ.get("WATCHDOG_USEC", "")
        self._seconds = int(interval) / 2_000_000 if interval.isdecimal() else 0.0
        if self._seconds and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.due_at = time.monotonic() + self._seconds

    def report_if_due(self) -> None:
        """Report if the time has come."""
        if is_due(self.due_at):
            self.due_at = time.monotonic() + self._seconds
            notify("WATCHDOG=1")
