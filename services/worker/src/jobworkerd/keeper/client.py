"""The supervisor's end of the socket to the keeper."""

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from jobworkerd.keeper import memory_file, wire

_PIDS_PER_PACKET = 1_000
"""Far below `wire.MAX_BYTES`."""


class IncompatibleKeeper(RuntimeError):
    """Raised when the keeper speaks another version of the protocol. The text is for the administrator."""


@dataclass(frozen=True)
class HeldEntry:
    """An entry of the keeper's table. `statuses` maps the PIDs of reaped processes to wait statuses.

    The first of the `descriptors` is the state. The receiver closes them.
    """

    descriptors: Sequence[int]
    pids: Sequence[int]
    statuses: Mapping[int, int]

    def state(self) -> bytes:
        """Return the content of the state."""
        return memory_file.read(self.descriptors[0])


@dataclass(frozen=True)
class Handlers:
    """Callbacks for the messages of the keeper."""

    signal: Callable[[int], None]
    """A signal has arrived at the main process."""
    hand_over: Callable[[], None]
    """Another supervisor is prepared and waits for the end of this one."""
    note: Callable[[str, str], None]
    """An event for the log, with a reason."""
    lost: Callable[[], None]
    """The keeper has died."""


class KeeperClient:
    """The owner of the socket to the keeper until `close`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._seq = 0
        self._replies: dict[int, asyncio.Future[int]] = {}
        self._waiting: deque[tuple[tuple[object, ...], list[int]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handlers: Handlers | None = None
        self._early: list[list[object]] = []
        self._ended = False

    def take_over(self, settings: int) -> dict[str, HeldEntry]:
        """Offer to take over, wait until the previous supervisor has ended, and return the table.

        `settings` is the descriptor of the settings, with which the keeper starts later supervisors.

        Raises:
            IncompatibleKeeper: the keeper has another version. Nothing was taken over.
            ConnectionError: the keeper has died, or does not need this supervisor.
        """
        self._sock.setblocking(True)  # noqa: FBT003 - it takes no keyword
        wire.send(self._sock, ["prepared", wire.VERSION], [settings])
        entries: dict[str, HeldEntry] = {}
        while (received := wire.receive(self._sock)) is not None:
            match received:
                case ["table", version], _:
                    _check(version)
                case ["entry", str(key), list(pids), dict(statuses)], descriptors:
                    numbers = {int(pid): int(status) for pid, status in statuses.items()}
                    entries[key] = HeldEntry(descriptors, pids, numbers)
                case ["serve"], _:
                    self._sock.setblocking(False)  # noqa: FBT003 - as above
                    return entries
        raise ConnectionError("the keeper has ended")

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Receive replies in the loop. Other messages wait for `watch`."""
        self._loop = loop
        loop.add_reader(self._sock, self._receive)

    def watch(self, handlers: Handlers) -> None:
        """Call the handlers from now on."""
        self._handlers = handlers
        early, self._early = self._early, []
        for message in early:
            self._handle(message)
        if self._ended:
            handlers.lost()

    def close(self) -> None:
        """Close the socket. The keeper keeps its table."""
        if self._sock.fileno() < 0:
            return
        if self._loop:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        self._sock.close()

    def ready(self) -> None:
        """Report that the server serves."""
        self._send(("ready",))

    def stopping(self) -> None:
        """Report that the server ends with the exit code of this process."""
        self._send(("stopping",))

    def hold(
        self, key: str, state: bytes, descriptors: Sequence[int] | None, pids: Sequence[int]
    ) -> "asyncio.Future[int]":
        """Add or replace an entry. Without `descriptors` the entry keeps those that it has.

        The returned future is done when the keeper has the entry, and fails with an OSError if the keeper has
        no descriptor left. The entry is unchanged then.

        Raises:
            OSError: this process has no descriptor or memory left.
        """
        file = memory_file.create("jobworkerd-state", state)
        try:
            return self._request("hold", key, list(pids), descriptors=[file, *(descriptors or ())])
        finally:
            os.close(file)

    def release(self, key: str) -> None:
        """Remove an entry and close its descriptors in the keeper."""
        self._request("release", key)

    def reap(self, pid: int) -> Awaitable[int]:
        """Return the wait status of a child of the keeper that has ended, and reap it.

        Until its entry is released, the status of a reaped process is returned again.
        """
        return self._request("reap", pid)

    def discard(self, pid: int, *, group: bool = True) -> None:
        """Kill a child of the keeper, and the process group that it leads, and let the keeper reap them."""
        self._request("discard", pid, group)

    def discard_others(self, pids: Sequence[int]) -> None:
        """Discard all children of the keeper except `pids` that are older than this process."""
        for first in range(0, len(pids), _PIDS_PER_PACKET):
            self._request("keep", list(pids[first : first + _PIDS_PER_PACKET]))
        self._request("discard others")

    def spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> "asyncio.Future[int]":
        """Start a child of the keeper in its own process group.

        `{0}` in `argv` stands for the number of the first descriptor in the child, `{1}` for the second. The
        returned future has the PID. It fails with an OSError if the child cannot be started.

        Raises:
            OSError: this process has no descriptor left.
        """
        return self._request("spawn", list(argv), descriptors=descriptors)

    def _request(
        self, name: str, *arguments: object, descriptors: Sequence[int] = ()
    ) -> "asyncio.Future[int]":
        self._seq += 1
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reply.add_done_callback(_retrieve)
        if self._ended:
            _finish(reply, errno.EPIPE, 0)
            return reply
        self._send((name, self._seq, *arguments), descriptors)
        self._replies[self._seq] = reply
        return reply

    def _send(self, message: tuple[object, ...], descriptors: Sequence[int] = ()) -> None:
        """Send a message now, or when the socket accepts it."""
        if not self._waiting:
            try:
                wire.send(self._sock, message, descriptors)
            except BlockingIOError:
                pass
            except ConnectionError:
                return  # `lost` follows
            else:
                return
        self._waiting.append((message, _duplicated(descriptors)))
        if self._loop:
            self._loop.add_writer(self._sock, self._flush)

    def _flush(self) -> None:
        while self._waiting:
            message, descriptors = self._waiting[0]
            try:
                wire.send(self._sock, message, descriptors)
            except BlockingIOError:
                return
            except ConnectionError:
                pass
            self._waiting.popleft()
            _close(descriptors)
        if self._loop:
            self._loop.remove_writer(self._sock)

    def _receive(self) -> None:
        while True:
            try:
                received = wire.receive(self._sock)
            except BlockingIOError:
                return
            if received is None:
                self._lost()
                return
            self._handle(received[0])

    def _handle(self, message: list[object]) -> None:
        match message:
            case ["done", int(seq), int(code), int(value)]:
                _finish(self._replies.pop(seq), code, value)
            case _ if self._handlers is None:
                self._early.append(message)
            case ["signal", int(number)]:
                self._handlers.signal(number)
            case ["hand over"]:
                self._handlers.hand_over()
            case ["note", str(event), str(reason)]:
                self._handlers.note(event, reason)

    def _lost(self) -> None:
        self._ended = True
        if self._loop:
            self._loop.remove_reader(self._sock)
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            _finish(reply, errno.EPIPE, 0)
        if self._handlers:
            self._handlers.lost()


def _check(version: object) -> None:
    if version != wire.VERSION:
        raise IncompatibleKeeper(
            f"the main process of the server speaks version {version} of its protocol, this program version "
            f"{wire.VERSION}; stop the server and start it again to complete the upgrade"
        )


def _finish(reply: "asyncio.Future[int]", code: int, value: int) -> None:
    if reply.done():
        return
    if code:
        reply.set_exception(OSError(code, os.strerror(code), "keeper"))
    else:
        reply.set_result(value)


def _retrieve(reply: "asyncio.Future[int]") -> None:
    """Mark the error as retrieved: most requests need no answer."""
    if not reply.cancelled():
        reply.exception()


def _duplicated(descriptors: Sequence[int]) -> list[int]:
    copies: list[int] = []
    try:
        for each in descriptors:
            copies.append(os.dup(each))  # noqa: PERF401 - the copies so far are closed if one fails
    except OSError:
        _close(copies)
        raise
    return copies


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
