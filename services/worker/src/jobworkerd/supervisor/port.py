"""Keeps the TCP port that the API processes share.

The supervisor binds it and never listens: so port 0 becomes a number that outlives an API process, a
port that somebody else listens on is an error at start, and nobody takes the port while an API process
is restarted. SO_REUSEPORT (socket(7)) lets the API processes bind it beside this socket.
"""

import os
import socket

from jobworkerd.config import listen_address


class PortTaken(OSError):
    """Raised when the address cannot be bound; the text is a sentence."""


def reserve(listen: str, uid: int | None = None) -> tuple[socket.socket, str]:
    """Returns a bound socket, the caller's to close, and the address with the real port.

    `uid` is the user that the API processes run as, if it is not this process's own.

    Raises:
        PortTaken: somebody listens there, or this host has no such address.
    """
    host, port = listen_address(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if port:
            # Without SO_REUSEPORT, so that another server of the same user is found, too.
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
        reserved = socket.socket(family, kind, protocol)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if uid is not None:
                _give(reserved, uid)
            reserved.bind(address)
        except OSError:
            reserved.close()
            raise
    except OSError as error:
        raise PortTaken(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    number = reserved.getsockname()[1]
    return reserved, f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _give(sock: socket.socket, uid: int) -> None:
    """Makes a socket a user's: a port is shared among those of one user only.

    fchown(2) does so before the socket is bound (sockfs_setattr in the kernel's net/socket.c).
    """
    try:
        os.fchown(sock.fileno(), uid, -1)
    except PermissionError as error:
        raise PermissionError(
            error.errno, f'sharing it with user {uid} takes CAP_CHOWN; give it, or set api.user = "root"'
        ) from error
