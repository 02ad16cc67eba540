"""Attach to one job over as many connections as needed.

`ResumableAttach` builds the first message of each call and reports the sizes of the terminal. It makes no
calls.
"""

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_client.events import EventHandler, TerminalResized
from jobworker_client.resumable_input import ResumableInput

__all__ = ["ResumableAttach"]


class ResumableAttach:
    """State of one client that attaches. Without `source` it sends no input."""

    def __init__(
        self,
        start: job_attach_pb2.AttachStart,
        source: ResumableInput | None,
        on_event: EventHandler | None,
    ) -> None:
        self._start = start
        self._source = source
        self._on_event = on_event
        self._size: TerminalResized | None = None
        self._redraw = start.redraw
        """Whether a redraw was requested since the last call started."""
        self._started_with_redraw = False

    def next_start(self, request: job_service_pb2.GetJobsStreamRequest) -> job_attach_pb2.AttachStart:
        """Return the first message of the next call. `request` describes the output that remains."""
        start = job_attach_pb2.AttachStart()
        start.CopyFrom(self._start)
        start.offset = request.offset
        if not request.HasField("tail_bytes"):
            start.ClearField("tail_bytes")
        if self._source:
            start.input_id = self._source.id
            # Another client that has taken the stdin over since keeps it.
            start.take_over = start.take_over and not self._source.answered
            # After the answer, programs draw their screen, and no byte of it is lost. A `resize` has no
            # answer, and the call of a process that was suspended for long is often broken.
            unanswered = self._started_with_redraw and not self._source.attached
            start.redraw = self._started_with_redraw = self._redraw or unanswered
            self._redraw = False
            self._source.start_call()
        return start

    def resize(self, columns: int, rows: int, *, redraw: bool) -> job_service_pb2.AttachJobRequest:
        """Return the message for a new size of the client's terminal, which later calls also start with.

        With `redraw`, the next call repeats the redraw.
        """
        self._start.size.CopyFrom(job_attach_pb2.TerminalSize(columns=columns, rows=rows))
        self._redraw = self._redraw or redraw
        size = job_attach_pb2.TerminalSize(columns=columns, rows=rows, redraw=redraw)
        return job_service_pb2.AttachJobRequest(resize=size)

    def resized(self, resize: job_pb2.TerminalResize) -> None:
        """Report a size of the job's terminal, unless an earlier call has received it."""
        size = TerminalResized(resize.columns, resize.rows, resize.log_offset)
        if self._size and (size == self._size or size.log_offset < self._size.log_offset):
            return
        self._size = size
        if self._on_event is not None:
            self._on_event(size)
