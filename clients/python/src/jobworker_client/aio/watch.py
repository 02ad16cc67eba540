"""The jobs that match a filter as an asynchronous iterator of changes."""

import grpc

from jobworker_client.aio.connection import Connection
from jobworker_client.aio.resuming_iterator import ResumingIterator
from jobworker_client.aio.stream_span import traced
from jobworker_client.events import WatchEvent
from jobworker_client.resumable_watch import ResumableWatch, WatchMessage, WatchRequest, WatchStatus

__all__ = ["JobWatch"]


class _WatchConnection:
    """A connection that opens calls of WatchJobs."""

    def __init__(self, connection: Connection) -> None:
        self._stub = connection.stub
        self.wait_ready = connection.wait_ready
        self.to_error = connection.to_error

    def open(
        self, request: WatchRequest, timeout: float | None
    ) -> "grpc.aio.UnaryStreamCall[WatchRequest, WatchMessage]":
        """Start a call with a timeout in seconds."""
        return traced(
            "WatchJobs", lambda metadata: self._stub.WatchJobs(request, timeout=timeout, metadata=metadata)
        )


class JobWatch(WatchStatus, ResumingIterator[WatchRequest, WatchMessage, WatchEvent]):
    """The changes of jobs as an asynchronous iterator and context manager; see `WatchStatus`."""

    def __init__(self, connection: Connection, state: ResumableWatch) -> None:
        WatchStatus.__init__(self, state)
        ResumingIterator.__init__(self, _WatchConnection(connection), state)
