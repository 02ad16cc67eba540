"""Notifies systemd of the state of the service (sd_notify(3)). Does nothing without systemd."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        # A leading @ represents the NUL byte of an abstract address (unix(7)).
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())
