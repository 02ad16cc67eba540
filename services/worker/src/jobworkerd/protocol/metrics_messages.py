"""The messages about metrics. The supervisor passes encoded snapshots on (see `metrics.instruments`)."""

from typing import Annotated

import msgspec

MAX_METRICS_BYTES = 1 << 20
"""Maximum size of a snapshot. A longer one would block the event loop of the supervisor."""


class GetMetrics(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `Metrics` of all processes of the server."""


class ExportMetrics(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `Metrics` of the supervisor for export. They are empty if another process exports them."""


class Scrape(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the snapshot of an API process. At most one request at a time is unanswered."""


class Scraped(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The snapshot of an API process, after a `Scrape`. The reply is `Done`."""

    snapshot: Annotated[bytes, msgspec.Meta(max_length=MAX_METRICS_BYTES)]


class Metrics(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The snapshots of the supervisor and of each API process.

    The number of an API process is its index. None stands for a process that has not answered in time.
    """

    supervisor: bytes
    api_processes: tuple[bytes | None, ...] = ()


MetricsRequest = GetMetrics | ExportMetrics | Scraped
