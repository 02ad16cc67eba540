"""Events of streams, watches and waits."""

from collections.abc import Callable
from dataclasses import dataclass

from jobworker.v1 import job_pb2, job_watch_pb2
from jobworker_client.errors import JobWorkerError

__all__ = [
    "EventHandler",
    "JobChanged",
    "JobRemoved",
    "Reconnecting",
    "StreamEvent",
    "TerminalResized",
    "TruncatedRange",
    "WatchEvent",
    "WatchSynced",
]


@dataclass(frozen=True)
class TruncatedRange:
    """Output that the server no longer has: bytes `from_offset` up to, but excluding, `to_offset`."""

    from_offset: int
    to_offset: int
    reason: str


@dataclass(frozen=True)
class Reconnecting:
    """The stream, the watch or the wait broke with `error`, and the client reconnects.

    An outage is reported once. `offset` is the first byte to request. None means that no output arrived, so
    the first request repeats.
    """

    error: JobWorkerError
    offset: int | None


@dataclass(frozen=True)
class TerminalResized:
    """The job's terminal has this size from `log_offset` on.

    An attached stream reports the size that holds at its first byte, and each change. It can be reported
    before or after the output around `log_offset`.
    """

    columns: int
    rows: int
    log_offset: int


StreamEvent = TruncatedRange | Reconnecting | TerminalResized
EventHandler = Callable[[StreamEvent], None]


@dataclass(frozen=True)
class JobChanged:
    """A job matches and is new, or has changed. A running job has no usage."""

    job: job_pb2.Job


@dataclass(frozen=True)
class JobRemoved:
    """A job does not match any more, or does not exist. `job` is its last known state.

    `reason` is unspecified if the job was removed while the server or the client was away. For an id of the
    request that does not exist, `job` is None.
    """

    job_id: str
    reason: job_watch_pb2.RemovalReason.ValueType
    job: job_pb2.Job | None


@dataclass(frozen=True)
class WatchSynced:
    """All jobs that match are known. Follows the first jobs, and the changes after each reconnect."""


WatchEvent = JobChanged | JobRemoved | WatchSynced
