"""The messages between the keeper and a supervisor.

The socket is a SOCK_SEQPACKET socket. Each packet is a JSON array of which the first element names the
message. Descriptors travel with the packet (SCM_RIGHTS, unix(7)). A packet is small: a job's state is a file
in memory, of which only the descriptor is sent.

Keeper to supervisor:

- `["table", version]`, then for each entry `["entry", key, pids, statuses]` with its descriptors, then
  `["serve"]`: the supervisor takes over. `statuses` maps the PIDs of reaped processes to wait statuses.
- `["done", seq, errno, value]`: the reply to a request.
- `["signal", number]`: a signal has arrived. `["note", event, reason]`: an event for the log.
- `["hand over"]`: the supervisor stores what it has to store and ends. Another one continues.

Supervisor to keeper:

- `["prepared", version]` with the descriptor of the settings: the supervisor can take over.
- `["ready"]`: it serves. `["stopping"]`: it ends all jobs, and the keeper ends with its exit code.
- `["hold", seq, key, pids]` with the descriptors of an entry, the state first. Without other descriptors, the
  entry keeps those that it has.
- `["release", seq, key]`, `["spawn", seq, argv]` with descriptors, `["reap", seq, pid]`,
  `["discard", seq, pid, group]`, `["keep", seq, pids]` and then `["discard others", seq]`.

The keeper is not restarted at an upgrade of the server, so a new supervisor can meet an older keeper. VERSION
changes with every incompatible change.
"""

import json
import os
import socket
from collections.abc import Sequence

from jobworkerd.keeper.inheritance import receive_fds

VERSION = 1

SERVER = "server"
"""The key of the entry with what the server itself needs: locks and the reserved port."""

RELOAD_FAILED = "reload failed"
"""The event of a note that the supervisor logs as an error."""

MAX_BYTES = 65_536
"""Upper bound for a packet."""

MAX_DESCRIPTORS = 16


class Truncated(OSError):
    """Raised when the receiver had no descriptor left for a packet. The others are closed."""

    def __init__(self, message: list[object]) -> None:
        """`message` is the content of the packet."""
        super().__init__()
        self.message = message


def send(sock: socket.socket, message: Sequence[object], descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        BlockingIOError: the socket is full.
        OSError: the other side has ended.
    """
    socket.send_fds(sock, [json.dumps(message).encode()], list(descriptors))


def receive(sock: socket.socket) -> tuple[list[object], list[int]] | None:
    """Return the next message and its descriptors, which the caller closes; None if the other side has ended.

    Raises:
        BlockingIOError: no message has arrived.
        Truncated: this process has no descriptor left.
        ValueError: the packet is not a message. Its descriptors are closed.
    """
    try:
        packet, descriptors, flags = receive_fds(sock, MAX_BYTES, MAX_DESCRIPTORS)
    except ConnectionResetError:
        return None
    if not packet:
        return None
    try:
        message = _decode(packet)
    except ValueError:
        _close(descriptors)
        raise
    if flags & socket.MSG_CTRUNC:
        _close(descriptors)
        raise Truncated(message)
    return message, descriptors


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _decode(packet: bytes) -> list[object]:
    try:
        message = json.loads(packet)
    except RecursionError as error:
        raise ValueError("the packet has too many levels") from error
    if not isinstance(message, list) or not message:
        raise ValueError("the packet is not an array with a name")
    return message
