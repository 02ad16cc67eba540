"""Notifies systemd of the state of the service (sd_notify(3)). Does nothing without systemd."""

import os
import socket
from contextlib import suppress

_VARIABLE = "NOTIFY_SOCKET"


def notify(state: str) -> None:
    """Send a state such as `READY=1`."""
    address = os.environ.get(_VARIABLE)
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock, suppress(OSError):
        # A leading @ represents the NUL byte of an abstract address (unix(7)).
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())


def environment() -> dict[str, str]:
    """Return the environment of children: only the main process notifies the service manager."""
    return {name: value for name, value in os.environ.items() if name != _VARIABLE}
