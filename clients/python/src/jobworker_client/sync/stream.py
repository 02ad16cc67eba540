"""The output of a job as an iterator."""

from collections.abc import Callable

from jobworker_client.chunks import Chunk
from jobworker_client.resumable_stream import ResumableStream, StreamRequest, StreamStatus
from jobworker_client.sync.connection import Connection, StreamCall
from jobworker_client.sync.resuming_iterator import ResumingIterator
from jobworker_client.sync.stream_span import traced

__all__ = ["SyncJobStream"]


class SyncJobStream(StreamStatus, ResumingIterator[StreamRequest, Chunk, Chunk]):
    """The output of a job as an iterator and context manager; see `StreamStatus`."""

    def __init__(
        self,
        connection: Connection,
        state: ResumableStream,
        method: Callable[..., StreamCall[Chunk]] | None = None,
    ) -> None:
        """Call GetJobsStream, or a method with the same interface."""
        StreamStatus.__init__(self, state)
        default = traced("GetJobsStream", connection.stub.GetJobsStream)
        ResumingIterator.__init__(self, connection, state, method or default)
