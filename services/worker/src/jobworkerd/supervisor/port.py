"""Reserves the TCP port that the API processes share.

The supervisor binds the port and never listens. So port 0 becomes a number that outlives an API process, and
a port in use is an error at start. No other program can take the port while an API process is restarted. With
SO_REUSEPORT (socket(7)) the API processes bind the same port.
"""

import os
import socket
from dataclasses import dataclass

from jobworkerd.config import listen_address


class PortTaken(OSError):
    """Raised when the address cannot be bound."""


@dataclass(frozen=True)
class ReservedPort:
    """A bound socket. `listen` is the address in the settings, `address` the one with the real port."""

    sock: socket.socket
    listen: str
    address: str

    def close(self) -> None:
        """Let other programs use the port."""
        self.sock.close()


def reserve(listen: str, uid: int | None = None) -> ReservedPort:
    """Return a reserved port, which the caller closes.

    `uid` is the user of the API processes, if it is not the user of this process.

    Raises:
        PortTaken: the port is in use, or this host does not have the address.
    """
    host, port = listen_address(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if port:
            # Without SO_REUSEPORT, so that it detects another server of the same user.
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
        reserved = socket.socket(family, kind, protocol)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if uid is not None:
                _change_owner(reserved, uid)
            reserved.bind(address)
        except OSError:
            reserved.close()
            raise
    except OSError as error:
        raise PortTaken(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    number = reserved.getsockname()[1]
    return ReservedPort(reserved, listen, f"[{host}]:{number}" if ":" in host else f"{host}:{number}")


def take_over(earlier: ReservedPort | None, listen: str, uid: int | None) -> ReservedPort:
    """Return the port of an earlier supervisor with the same setting, or close it and reserve a port.

    Raises:
        PortTaken: the port is in use, or this host does not have the address.
    """
    if earlier and earlier.listen == listen:
        return earlier
    if earlier:
        earlier.close()
    return reserve(listen, uid)


def _change_owner(sock: socket.socket, uid: int) -> None:
    """Change the owner of a socket, because only sockets of one user can share a port.

    fchown(2) has this effect before the socket is bound (sockfs_setattr in the kernel's net/socket.c).
    """
    try:
        os.fchown(sock.fileno(), uid, -1)
    except PermissionError as error:
        raise PermissionError(
            error.errno,
            f'sharing the port with UID {uid} requires CAP_CHOWN; grant it, or set api.user = "root"',
        ) from error
