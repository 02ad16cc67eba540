"""Send the input of one job over as many connections as needed.

`ResumableInput` builds the requests and processes the answers. It makes no calls. The server counts the
accepted bytes of each input id, so an input continues exactly where it broke.
"""

from collections.abc import Iterator

from jobworker.v1 import job_attach_pb2, job_service_pb2

__all__ = ["ResumableInput", "pieces"]

MAX_BYTES = 64 * 1024
"""The maximum size of a piece."""


def pieces(data: bytes) -> Iterator[bytes]:
    """Split data into pieces that the server accepts."""
    return (data[begin : begin + MAX_BYTES] for begin in range(0, len(data), MAX_BYTES))


class ResumableInput:
    """The piece of an input that the server has not accepted yet, and its position."""

    def __init__(self, input_id: str = "") -> None:
        """Begin an input; an empty id is replaced by a new UUID."""
        # Importing uuid takes longer than the rest of this module: it inspects the network interfaces.
        import uuid

        self.id = input_id or str(uuid.uuid4())
        self.complete = False
        """True if the server has accepted the end of the input."""
        self._offset = 0
        self._data = b""
        self._ending = False
        self._sent = False

    @property
    def pending(self) -> bool:
        """Whether a piece or the end must be sent."""
        return bool(self._data) or (self._ending and not self.complete)

    def put(self, data: bytes) -> None:
        """Set the next piece, of at most `MAX_BYTES`. The previous one must have been accepted."""
        self._data = data

    def end(self) -> None:
        """End the input after the last piece."""
        self._ending = True

    def start_call(self) -> None:
        """Note that a new call starts, and its first answer does not concern a piece."""
        self._sent = False

    def next_request(self) -> job_service_pb2.AttachJobRequest:
        """Return the message for the pending piece or the end."""
        self._sent = True
        if self._data:
            chunk = job_attach_pb2.InputChunk(offset=self._offset, data=self._data)
            return job_service_pb2.AttachJobRequest(input=chunk)
        return job_service_pb2.AttachJobRequest(eof=job_attach_pb2.InputEnd(offset=self._offset))

    def accepted(self, offset: int) -> None:
        """Process an answer of the server.

        A server whose job has closed its stdin no longer knows the position, and answers with 0.
        """
        if self._ending and not self._data and self._sent:
            self.complete = True
        count = min(max(offset - self._offset, 0), len(self._data))
        self._offset += count
        self._data = self._data[count:]
