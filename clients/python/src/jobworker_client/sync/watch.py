"""The jobs that match a filter as an iterator of changes."""

from jobworker_client.events import WatchEvent
from jobworker_client.resumable_watch import ResumableWatch, WatchMessage, WatchRequest, WatchStatus
from jobworker_client.sync.connection import Connection
from jobworker_client.sync.resuming_iterator import ResumingIterator
from jobworker_client.sync.stream_span import traced

__all__ = ["SyncJobWatch"]


class SyncJobWatch(WatchStatus, ResumingIterator[WatchRequest, WatchMessage, WatchEvent]):
    """The changes of jobs as an iterator and context manager; see `WatchStatus`."""

    def __init__(self, connection: Connection, state: ResumableWatch) -> None:
        WatchStatus.__init__(self, state)
        ResumingIterator.__init__(self, connection, state, traced("WatchJobs", connection.stub.WatchJobs))
