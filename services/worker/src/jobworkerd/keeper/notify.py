"""Notifies systemd of the state of the service (sd_notify(3)). Does nothing without systemd."""

import os
import socket
from contextlib import suppress

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
