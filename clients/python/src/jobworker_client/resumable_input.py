"""Send the input of one job over as many connections as needed.

`ResumableInput` builds the requests and processes the answers. It makes no calls. The server counts the
accepted bytes of each input id, so an input continues exactly where it broke.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from jobworker.v1 import job_attach_pb2, job_service_pb2

__all__ = ["ResumableInput", "pieces"]

MAX_BYTES = 64 * 1024
"""The maximum size of a piece."""

WINDOW = 4
"""The maximum number of pieces that the server has not answered."""


def pieces(data: bytes) -> Iterator[bytes]:
    """Split data into pieces that the server accepts."""
    return (data[begin : begin + MAX_BYTES] for begin in range(0, len(data), MAX_BYTES))


class ResumableInput:
    """The pieces of an input that the server has not accepted yet, and their position."""

    def __init__(self, input_id: str = "") -> None:
        """Begin an input; an empty id is replaced by a new UUID."""
        # Importing uuid takes longer than the rest of this module: it inspects the network interfaces.
        import uuid

        self.id = input_id or str(uuid.uuid4())
        self.answered = False
        """True if the server has answered a call with this input."""
        self.attached = False
        """True if the server has answered the current or last call."""
        self.complete = False
        """True if the server has accepted the end of the input."""
        self._offset = 0
        self._pieces: deque[bytes] = deque()
        self._ending = False
        self._sent = 0
        """The number of pieces that this call has sent."""
        self._end_sent = False

    @property
    def has_room(self) -> bool:
        """Whether the next piece can be set."""
        return len(self._pieces) < WINDOW

    @property
    def accepted_bytes(self) -> int:
        """The number of bytes that the server has accepted."""
        return self._offset

    @property
    def all_accepted(self) -> bool:
        """Whether the server has accepted all pieces."""
        return not self._pieces

    def put(self, data: bytes) -> None:
        """Set the next piece, of at most `MAX_BYTES`."""
        self._pieces.append(data)

    def end(self) -> None:
        """End the input after the last piece."""
        self._ending = True

    def start_call(self) -> None:
        """Note that a new call starts, which sends everything that is not accepted."""
        self.attached = self._end_sent = False
        self._sent = 0

    @property
    def can_send(self) -> bool:
        """Whether there is a next message, and the server has answered what must precede it."""
        if not self.attached:
            return False
        if self._pieces:
            return self._sent < len(self._pieces)
        return self._ending and not self._end_sent

    def next_request(self) -> job_service_pb2.AttachJobRequest:
        """Return the message for the next piece or the end."""
        if not self._pieces:
            self._end_sent = True
            return job_service_pb2.AttachJobRequest(eof=job_attach_pb2.InputEnd(offset=self._offset))
        offset = self._offset + sum(map(len, islice(self._pieces, self._sent)))
        chunk = job_attach_pb2.InputChunk(offset=offset, data=self._pieces[self._sent])
        self._sent += 1
        return job_service_pb2.AttachJobRequest(input=chunk)

    def accepted(self, offset: int) -> None:
        """Process an answer of the server. The first one of a call concerns its start.

        A server whose job has closed its stdin no longer knows the position, and answers with 0.
        """
        if self._end_sent:
            self.complete = True
        self.answered = self.attached = True
        while self._pieces and offset > self._offset:
            piece = self._pieces.popleft()
            count = min(offset - self._offset, len(piece))
            self._offset += count
            if count < len(piece):
                self._pieces.appendleft(piece[count:])
            else:
                self._sent = max(self._sent - 1, 0)
