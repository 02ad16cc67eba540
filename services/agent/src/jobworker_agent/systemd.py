"""Notifies systemd of the state of the service (sd_notify(3)). Does nothing without systemd."""

import asyncio
import os
import socket
from contextlib import suppress

_TIMEOUT_SECONDS = 1.0


def notify(state: str) -> None:
    """Send a state such as `READY=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A missing or stopped service manager must not end or block the agent.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_TIMEOUT_SECONDS)
        # A leading @ represents the NUL byte of an abstract address (unix(7)).
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())


def watchdog_interval() -> float | None:
    """Return half of `WatchdogSec=` in seconds; None without a watchdog (sd_watchdog_enabled(3))."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    if not interval.isdecimal() or not int(interval):
        return None
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(interval) / 2_000_000


async def report_alive() -> None:
    """Tell the watchdog of systemd that the event loop works, until cancelled. Return without a watchdog."""
    interval = watchdog_interval()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
