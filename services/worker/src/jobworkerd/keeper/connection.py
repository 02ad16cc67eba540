"""The keeper's end of the socket to one supervisor."""

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children, now
from jobworkerd.keeper.table import Table

PREPARE_SECONDS = 60.0
"""A supervisor that is not prepared within this time is killed."""

_PASSING = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM})
"""The kernel limits the descriptors in flight of an unprivileged user (unix(7)), and can lack memory."""

_RETRY_SECONDS = 0.01


class Connection:
    """A supervisor process, its socket, and the requests that it may make. The owner of the socket."""

    def __init__(
        self, sock: socket.socket, pid: int, table: Table, children: Children, on_notice: Callable[..., None]
    ) -> None:
        """`on_notice` is called with this connection, each message that is not a request, and the descriptors
        of the message, which it takes over.
        """
        sock.setblocking(False)  # noqa: FBT003 - it takes no keyword
        self.sock = sock
        self.pid = pid
        self.prepared = False
        self.ready = False
        self.stopping = False
        self._took_over = 0
        self.settings: int | None = None
        """The descriptor of the settings with which the supervisor has prepared itself."""
        self.deadline: float | None = time.monotonic() + PREPARE_SECONDS
        """The time until which the supervisor must be prepared."""
        self.retry_at: float | None = None
        """The time to send waiting messages again after the kernel was out of a resource."""
        self._kept = {pid}
        self._table = table
        self._children = children
        self._on_notice = on_notice
        self._waiting: deque[tuple[Sequence[object], Sequence[int]]] = deque()

    @property
    def has_waiting(self) -> bool:
        """Whether messages wait until the socket accepts them."""
        return bool(self._waiting)

    def close(self) -> None:
        """Close the socket and the settings."""
        self.sock.close()
        self.replace_settings(None)

    def replace_settings(self, settings: int | None) -> None:
        """Take over the descriptor of other settings."""
        if self.settings is not None:
            os.close(self.settings)
        self.settings = settings

    def send(self, *message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message now, or when the socket accepts it. `descriptors` stay open until then."""
        self._waiting.append((message, descriptors))
        self.flush()

    def flush(self) -> None:
        """Send waiting messages. A supervisor that has ended receives none."""
        self.retry_at = None
        try:
            while self._waiting:
                wire.send(self.sock, *self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _PASSING:
                self.retry_at = time.monotonic() + _RETRY_SECONDS
            else:
                self._waiting.clear()

    def send_table(self) -> None:
        """Give the table to the supervisor, which takes over with the last message."""
        # A supervisor of a reload is older than the last spare processes of the one before.
        self._took_over = now()
        self.send("table", wire.VERSION)
        for key, entry in self._table:
            self.send("entry", key, entry.pids, entry.statuses, descriptors=entry.descriptors)
        self.send("serve")

    def receive(self) -> bool:
        """Handle all messages that have arrived; return False if the supervisor has closed the socket."""
        while True:
            try:
                received = wire.receive(self.sock)
            except BlockingIOError:
                return True
            except wire.Truncated as error:
                self._truncated(error.message)
                continue
            except ValueError:  # a fault of the supervisor must not end the jobs
                continue
            if received is None:
                return False
            self._handle(*received)

    def _truncated(self, message: list[object]) -> None:
        """Refuse a request whose descriptors were lost. A supervisor can take over without its settings."""
        if message[0] == "prepared":
            self._on_notice(self, message, [])
        else:
            self.send("done", *message[1:2], errno.EMFILE, 0)

    def _handle(self, message: list[object], descriptors: list[int]) -> None:
        match message:
            case ["hold", seq, str(key), list(pids)] if descriptors and _are_pids(pids):
                self._table.hold(key, descriptors, pids)
                self.send("done", seq, 0, 0)
            case [
                ("hold" | "release" | "spawn" | "reap" | "discard" | "keep" | "discard others") as name,
                seq,
                *arguments,
            ]:
                self._answer(str(name), seq, arguments, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
            case _:
                self._on_notice(self, message, descriptors)

    def _answer(self, name: str, seq: object, arguments: list[object], descriptors: list[int]) -> None:
        try:
            value = self._perform(name, arguments, descriptors)
        except OSError as error:
            self.send("done", seq, error.errno or errno.EIO, 0)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # As above: the arguments are not those of a correct supervisor.
            self.send("done", seq, errno.EINVAL, 0)
        else:
            self.send("done", seq, 0, value)

    def _perform(self, name: str, arguments: list[object], descriptors: list[int]) -> int:
        match name, arguments:
            case "release", [str(key)]:
                self._table.release(key)
            case "spawn", [list(argv)]:
                return self._spawn(argv, descriptors)
            case "reap", [int(pid)]:
                return self._reap(pid)
            case "discard", [int(pid), bool(group)]:
                self._children.discard(pid, group=group)
            case "keep", [list(pids)]:
                self._kept.update(pids)
            case "discard others", []:
                self._children.discard_others(self._kept, self._took_over + 1)
            case _:
                raise OSError(errno.EINVAL, "unknown request")
        return 0

    def _spawn(self, argv: Sequence[str], descriptors: Sequence[int]) -> int:
        """Start a child, and keep it. Start times count 10 ms, so it can seem older than the takeover."""
        pid = self._children.spawn(argv, descriptors)
        self._kept.add(pid)
        return pid

    def _reap(self, pid: int) -> int:
        """Reap a process, and store its status: a supervisor that dies now asks again."""
        status = self._table.status(pid)
        if status is None:
            try:
                status = self._children.reap(pid)
            except BlockingIOError as error:
                raise OSError(errno.EAGAIN, "the process has not ended") from error
            self._table.reaped(pid, status)
        return status


def _are_pids(values: list[object]) -> bool:
    return all(type(value) is int for value in values)
