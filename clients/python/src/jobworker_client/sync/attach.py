"""AttachJob for threads: a `SyncJobStream` that also sends input and signals."""

from collections.abc import Iterable, Iterator

import grpc

from jobworker.v1 import job_attach_pb2, job_service_pb2
from jobworker_client.chunks import Chunk
from jobworker_client.events import EventHandler
from jobworker_client.resumable_attach import ResumableAttach
from jobworker_client.resumable_input import ResumableInput
from jobworker_client.resumable_stream import ResumableStream, StreamRequest
from jobworker_client.sync.connection import Connection, StreamCall
from jobworker_client.sync.outbox import Outbox, Request
from jobworker_client.sync.stream import SyncJobStream
from jobworker_client.sync.stream_span import traced

__all__ = ["SyncAttachedStream"]


class _AttachCall:
    """One call of AttachJob, with the interface of a call of GetJobsStream."""

    def __init__(
        self, connection: Connection, outbox: Outbox, request: StreamRequest, timeout: float | None
    ) -> None:
        self.ended = False
        self._cancelled = False
        self._outbox = outbox
        self._call: StreamCall[job_service_pb2.AttachJobResponse] | None = None
        start = outbox.start_call(self, request)
        attach = traced("AttachJob", connection.stub.AttachJob)
        self._call = attach(self._requests(start), timeout=timeout)
        if self._cancelled:  # by another thread, before there was a call
            self.cancel()

    def _requests(self, start: job_attach_pb2.AttachStart) -> Iterator[Request]:
        """Yield the messages of the client, in a thread of gRPC."""
        yield Request(start=start)
        while (request := self._outbox.next_request(self)) is not None:
            yield request

    def __next__(self) -> Chunk:
        """Return the next message of the output. Handle other messages."""
        while True:
            message = self._next_message()
            match message.WhichOneof("kind"):
                case "output":
                    return message.output
                case "input_accepted":
                    self._outbox.accepted(message.input_accepted.offset)
                case "resized":
                    self._outbox.resized(message.resized)

    def _next_message(self) -> job_service_pb2.AttachJobResponse:
        assert self._call
        try:
            return next(self._call)
        except grpc.RpcError:
            if self._outbox.error:
                raise self._outbox.error from None
            raise

    def cancel(self) -> bool:
        """Cancel the call, in any thread."""
        self._cancelled = True
        if self._call is None:
            return False
        self._call.cancel()
        self.ended = True  # not before: the end of the requests would reach the server
        return True


class SyncAttachedStream(SyncJobStream):
    """The output of a job, like a `SyncJobStream`, while its input is sent; see `SyncClient.attach`.

    Other threads can call `signal`, `resize`, `wait_accepted` and `close`.
    """

    def __init__(
        self,
        connection: Connection,
        state: ResumableStream,
        start: job_attach_pb2.AttachStart,
        stdin: Iterable[bytes] | None,
        on_event: EventHandler | None,
    ) -> None:
        source = None if stdin is None else ResumableInput()
        calls = ResumableAttach(start, source, on_event)
        self._outbox = outbox = Outbox(calls, stdin, source, state.made_progress)

        def attach(request: StreamRequest, timeout: float | None) -> _AttachCall:
            return _AttachCall(connection, outbox, request, timeout)

        super().__init__(connection, state, attach)

    def signal(self, name: str) -> None:
        """Send a signal such as `SIGINT` to the foreground process group of the job.

        It is sent as soon as there is a connection.
        """
        self._outbox.signal(name)

    def resize(self, columns: int, rows: int, *, redraw: bool = False) -> None:
        """Report the size of the client's terminal, for a job with a terminal and with input.

        With `redraw`, the programs in the terminal draw their screen again, also at the same size.
        """
        self._outbox.resize(columns, rows, redraw=redraw)

    def wait_accepted(self, size: int, timeout: float | None = None) -> bool:
        """Wait until the server has accepted so many bytes of the input, from its start.

        Return False if the stream ends before, or after `timeout` seconds. Leaving the job discards what the
        server has not accepted. Let another thread read the output meanwhile.
        """
        return self._outbox.wait_accepted(size, timeout)

    def _cancel_call(self) -> None:
        super()._cancel_call()
        if self._state.ended:
            self._outbox.close()
