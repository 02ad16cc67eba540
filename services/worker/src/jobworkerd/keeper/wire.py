"""The protocol between the keeper and a supervisor: packets of words, with descriptors.

The connection is a SOCK_SEQPACKET socket. A word is a string without NUL. The keeper begins with the notice
`hello VERSION`. Then the supervisor sends requests: a number, an operation and its arguments. The keeper
answers each with the number, an errno (0 for success) and the result. A notice has the number 0.

Operations:

- `hold KEY`, with descriptors: keep duplicates of the descriptors, in place of those of the same key.
- `release KEY`: close the descriptors of a key.
- `entry INDEX`: return a key of the table and its descriptors; ENOENT after the last one.
- `spawn ARGUMENT...`, with descriptors: start a child, with the descriptors from number 3 on; return its PID.
- `status PID`: return the wait status of a child that has ended. The child remains a zombie.
- `discard PID`: kill and reap a child. A negative PID is a process group. The answer follows the last reap.
- `notify STATE`: send a state to the service manager.
- `prepared SIGNATURE`, with the file of the settings: the supervisor waits for the notice `go`.
- `listening`: the supervisor handles signals.
- `ready`: the supervisor serves.
- `end`: the server ends with the supervisor.

Notices: `hello VERSION`; `go`: the table belongs to this supervisor; `leave`: end, another supervisor is
prepared.
"""

import os
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

VERSION = 1
"""A supervisor that does not know the keeper's version does not touch the jobs."""

NOTICE = "0"
"""The number of a notice."""

FIRST_DESCRIPTOR = 3
"""The number of the first descriptor that a spawned child receives."""

MAX_DESCRIPTORS = 16
_MAX_BYTES = 1 << 16


class Packet(NamedTuple):
    """The words and the descriptors of one packet. `truncated` means that descriptors are missing."""

    words: list[str]
    descriptors: list[int]
    truncated: bool = False

    def close(self) -> None:
        """Close the descriptors."""
        for each in self.descriptors:
            os.close(each)


def send(sock: socket.socket, words: Iterable[object], descriptors: Sequence[int] = ()) -> None:
    """Send one packet.

    Raises:
        BlockingIOError: the socket is full.
        OSError: the other end is closed, or too many descriptors are in flight (ETOOMANYREFS).
    """
    content = b"\0".join(os.fsencode(str(word)) for word in words)
    socket.send_fds(sock, [content], list(descriptors))


def receive(sock: socket.socket) -> Packet | None:
    """Receive one packet; return None at the end of the connection.

    Raises:
        BlockingIOError: no packet has arrived.
    """
    try:
        content, descriptors, flags, _ = socket.recv_fds(sock, _MAX_BYTES, MAX_DESCRIPTORS)
    except ConnectionResetError:
        return None
    for each in descriptors:  # recv_fds ignores MSG_CMSG_CLOEXEC
        os.set_inheritable(each, False)  # noqa: FBT003 - positional-only
    if not content:
        return None
    return Packet(os.fsdecode(content).split("\0"), descriptors, bool(flags & socket.MSG_CTRUNC))
