"""The keeper's end of the connection to one supervisor, and what the keeper knows of that supervisor."""

import os
import socket
from collections import deque
from collections.abc import Iterable, Sequence

from jobworkerd.keeper import wire
from jobworkerd.keeper.wire import Packet


class Connection:
    """The owner of a supervisor's socket until `close`. A supervisor that does not read cannot block it."""

    def __init__(self, pid: int, sock: socket.socket, settings: int | None = None) -> None:
        """`settings` is the descriptor of the file with the supervisor's settings, if it is known already."""
        sock.setblocking(False)  # noqa: FBT003 - positional-only
        self.pid = pid
        self.sock = sock
        self.settings = settings
        self.prepared = self.active = self.listening = self.ready = self.leaving = self.ended = False
        self.signature = ""
        self._waiting: deque[tuple[list[object], list[int]]] = deque()

    @property
    def blocked(self) -> bool:
        """Whether packets wait until the socket accepts them."""
        return bool(self._waiting)

    def send(self, words: Iterable[object], descriptors: Sequence[int] = ()) -> None:
        """Send a packet, or keep it until the socket accepts it. The caller keeps the descriptors."""
        if self.sock.fileno() < 0 or (not self._waiting and self._try(list(words), descriptors)):
            return
        self._waiting.append((list(words), [os.dup(each) for each in descriptors]))

    def flush(self) -> None:
        """Send packets that wait."""
        while self._waiting and self._try(*self._waiting[0]):
            for each in self._waiting.popleft()[1]:
                os.close(each)

    def _try(self, words: list[object], descriptors: Sequence[int]) -> bool:
        try:
            wire.send(self.sock, words, descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                return False  # too many descriptors in flight, or no memory: later
        return True

    def receive(self) -> Packet | None:
        """Return the next packet; None if none has arrived, or the supervisor has died."""
        try:
            return wire.receive(self.sock)
        except OSError:
            return None

    def close(self) -> None:
        """Close the socket and drop packets that wait."""
        self.sock.close()
        while self._waiting:
            for each in self._waiting.popleft()[1]:
                os.close(each)
        if self.settings is not None:
            os.close(self.settings)
            self.settings = None
