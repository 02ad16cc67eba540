"""The messages that an attached stream sends, between the threads of the caller and those of gRPC."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_client.resumable_attach import ResumableAttach
from jobworker_client.resumable_input import ResumableInput, pieces

__all__ = ["Outbox"]

Request = job_service_pb2.AttachJobRequest


class Sender(Protocol):
    """A call that sends messages until it has ended."""

    @property
    def ended(self) -> bool:
        """Whether the call sends nothing any more."""
        ...

    def cancel(self) -> bool:
        """Cancel the call."""
        ...


class Outbox:
    """The input, the signals and the sizes that the server has not received yet. It is thread-safe."""

    def __init__(
        self,
        calls: ResumableAttach,
        source: Iterable[bytes] | None,
        state: ResumableInput | None,
        on_progress: Callable[[], None],
    ) -> None:
        """`state` is the position in `source`. Call `on_progress` when the server accepts input."""
        self.error: Exception | None = None
        """The error of the source."""
        self._calls = calls
        self._source = source
        self._state = state
        self._on_progress = on_progress
        self._changed = threading.Condition()
        self._controls: deque[Request] = deque()
        self._call: Sender | None = None
        self._control_sent = False
        self._closed = False
        self._reading = False

    def start_call(
        self, call: Sender, request: job_service_pb2.GetJobsStreamRequest
    ) -> job_attach_pb2.AttachStart:
        """Let a new call send the rest, and return its first message.

        Raises:
            Exception: the source failed.
        """
        with self._changed:
            if self.error:
                raise self.error
            self._call = call
            self._control_sent = False
            self._changed.notify_all()  # ends the thread of an earlier call
            return self._calls.next_start(request)

    def next_request(self, call: Sender) -> Request | None:
        """Wait for the next message of a call, which has sent the previous one; None after its end."""
        with self._changed:
            if self._control_sent and call is self._call:
                self._controls.popleft()
                self._control_sent = False
            while not call.ended:
                if self._controls:
                    # The next call repeats it if this one breaks.
                    self._control_sent = True
                    return self._controls[0]
                if self._state and self._state.can_send:
                    return self._state.next_request()
                self._changed.wait()
        return None

    def signal(self, name: str) -> None:
        """Send a signal."""
        with self._changed:
            self._controls.append(Request(signal=job_attach_pb2.JobSignal(name=name)))
            self._changed.notify_all()

    def resize(self, columns: int, rows: int, *, redraw: bool) -> None:
        """Send a size of the client's terminal."""
        with self._changed:
            self._controls.append(self._calls.resize(columns, rows, redraw=redraw))
            self._changed.notify_all()

    def accepted(self, offset: int) -> None:
        """Process an answer of the server. The first one starts the source."""
        with self._changed:
            if self._state:
                self._state.accepted(offset)
                self._start_source()
            self._changed.notify_all()
        self._on_progress()

    def wait_accepted(self, size: int, timeout: float | None) -> bool:
        """Wait until the server has accepted so many bytes; return False if that does not happen."""
        state = self._state
        if state is None:
            return False
        with self._changed:
            self._changed.wait_for(lambda: state.accepted_bytes >= size or self._closed, timeout)
            return state.accepted_bytes >= size

    def resized(self, resize: job_pb2.TerminalResize) -> None:
        """Report a size of the job's terminal."""
        self._calls.resized(resize)

    def close(self) -> None:
        """Stop reading the source, after the item for which it waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_source(self) -> None:
        if not self._reading:
            self._reading = True
            # As a daemon it does not keep the program alive: it can wait for a user who never types.
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        """Read the source in a separate thread, which a broken call does not end."""
        assert self._source is not None
        try:
            for data in self._source:
                for piece in pieces(data):
                    if not self._put(piece):
                        return
            self._put(None)
        except Exception as error:  # noqa: BLE001 - raised by the iteration of the stream
            self._fail(error)

    def _put(self, piece: bytes | None) -> bool:
        """Set the next piece when there is room for it, or the end.

        Returns whether the stream is open.
        """
        assert self._state
        with self._changed:
            while not (self._state.has_room or self._closed):
                self._changed.wait()
            if piece is None:
                self._state.end()
            else:
                self._state.put(piece)
            self._changed.notify_all()
            return not self._closed

    def _fail(self, error: Exception) -> None:
        """End the stream with an error when the server has accepted the pieces before it."""
        assert self._state
        with self._changed:
            while not (self._state.all_accepted or self._closed):
                self._changed.wait()
            self.error = error
            call = self._call
        if call:
            call.cancel()
        with self._changed:
            self._changed.notify_all()  # ends the thread of the call
