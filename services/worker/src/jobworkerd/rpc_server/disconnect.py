"""Closes the connections of all clients at once, for which gRPC has no function."""

import socket
from contextlib import suppress
from pathlib import Path


def disconnect(port: int) -> None:
    """Shut down each TCP connection to a local port. The clients' calls fail with UNAVAILABLE.

    gRPC ends calls that arrive while its server stops with CANCELLED, which a client must not repeat.
    """
    with suppress(OSError):  # without a free descriptor, gRPC closes the connections
        for each in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                _shut_down(int(each.name), port)


def _shut_down(descriptor: int, port: int) -> None:
    sock = socket.socket(fileno=descriptor)
    try:
        is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
        if is_tcp and sock.getsockname()[1] == port and not _is_listening(sock):
            sock.shutdown(socket.SHUT_RDWR)
    finally:
        sock.detach()


def _is_listening(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
