"""The keeper's end of the socket to one supervisor."""

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from jobworkerd.keeper import wire
from jobworkerd.keeper.children import Children, start_time
from jobworkerd.keeper.table import Table


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
        self._table = table
        self._children = children
        self._on_notice = on_notice
        self._waiting: deque[tuple[Sequence[object], Sequence[int]]] = deque()

    @property
    def has_waiting(self) -> bool:
        """Whether messages wait until the socket accepts them."""
        return bool(self._waiting)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def send(self, *message: object, descriptors: Sequence[int] = ()) -> None:
        """Send a message now, or when the socket accepts it. `descriptors` stay open until then."""
        self._waiting.append((message, descriptors))
        self.flush()

    def flush(self) -> None:
        """Send waiting messages. A supervisor that has ended receives none."""
        try:
            while self._waiting:
                wire.send(self.sock, *self._waiting[0])
                self._waiting.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._waiting.clear()

    def send_table(self) -> None:
        """Give the table to the supervisor, which takes over with the last message."""
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
                self.send("done", error.message[1], errno.EMFILE, 0)
                continue
            if received is None:
                return False
            self._handle(*received)

    def _handle(self, message: list[object], descriptors: list[int]) -> None:
        match message:
            case ["hold", seq, str(key), list(pids)]:
                self._table.hold(key, descriptors, pids)
                self.send("done", seq, 0, 0)
            case [("release" | "spawn" | "reap" | "discard" | "discard others") as name, seq, *arguments]:
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
        else:
            self.send("done", seq, 0, value)

    def _perform(self, name: str, arguments: list[object], descriptors: list[int]) -> int:
        match name, arguments:
            case "release", [str(key)]:
                self._table.release(key)
            case "spawn", [list(argv)]:
                return self._children.spawn(argv, descriptors)
            case "reap", [int(pid)]:
                return self._reap(pid)
            case "discard", [int(pid), bool(group)]:
                self._children.discard(pid, group=group)
            case "discard others", [list(pids)]:
                self._children.discard_others({*pids, self.pid}, start_time(self.pid))
            case _:
                raise OSError(errno.EINVAL, "unknown request")
        return 0

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
