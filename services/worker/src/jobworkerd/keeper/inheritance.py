"""Decides which descriptors an executed program inherits: those that are passed to it by name, and no others.

Python opens all descriptors as close-on-exec, except those that arrive from outside: in a packet, or from
the program that executed this one.
"""

import os
import socket
from collections.abc import Iterable


def set_inheritable(descriptors: Iterable[int], *, inheritable: bool) -> None:
    """Set or clear the inheritance of descriptors by the programs that this process executes."""
    for descriptor in descriptors:
        os.set_inheritable(descriptor, inheritable)


def receive_fds(sock: socket.socket, max_bytes: int, max_descriptors: int) -> tuple[bytes, list[int], int]:
    """Return a packet, its descriptors, which no program inherits, and its flags (see recvmsg(2))."""
    packet, descriptors, flags, _ = socket.recv_fds(sock, max_bytes, max_descriptors)
    set_inheritable(descriptors, inheritable=False)  # recv_fds has no effect for MSG_CMSG_CLOEXEC
    return packet, descriptors, flags
