"""Validated requests that a server serves by itself, without a message to the supervisor."""

import dataclasses

from jobworkerd.model import OutputSource
from jobworkerd.protocol import messages


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamRequest:
    """The validated fields of GetJobsStreamRequest. The stream starts at the latest of its four start
    positions.

    `since_ns` is in ns since the epoch. If `source` is None, both sources are sent.
    """

    job_id: str
    offset: int = 0
    tail_lines: int | None = None
    tail_bytes: int | None = None
    since_ns: int | None = None
    source: OutputSource | None = None
    mixed_sources: bool = False
    follow: bool = True

    @property
    def needs_seek(self) -> bool:
        """True if the start offset depends on the contents of the log."""
        return not (self.tail_lines is None and self.tail_bytes is None and self.since_ns is None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """The validated fields of WatchJobsRequest. `fingerprint` identifies its filters."""

    first_page: messages.ListJobs
    ids: tuple[str, ...] = ()
    max_final_jobs: int | None = None
    cursor: str = ""
    fingerprint: bytes = b""
