"""The output of a job as an asynchronous iterator."""

from jobworker_client.aio.resuming_iterator import Opener, ResumingIterator
from jobworker_client.chunks import Chunk
from jobworker_client.resumable_stream import ResumableStream, StreamRequest, StreamStatus

__all__ = ["JobStream"]


class JobStream(StreamStatus, ResumingIterator[StreamRequest, Chunk, Chunk]):
    """The output of a job as an asynchronous iterator and context manager; see `StreamStatus`."""

    def __init__(self, connection: Opener[StreamRequest], state: ResumableStream) -> None:
        StreamStatus.__init__(self, state)
        ResumingIterator.__init__(self, connection, state)
