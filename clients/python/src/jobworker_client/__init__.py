"""Start, follow and stop jobs on a jobworkerd server, with asyncio (`Client`) or threads (`SyncClient`).

>>> with SyncClient.from_env() as client:
...     job = client.run("echo", "hello", limits=Limits(max_cpu=50, max_memory=64))
...     for chunk in client.stream(job.id):
...         print(chunk.payload)
b'hello\\n'

Both clients share the requests, errors, retries and the resumption of streams. `aio` and `sync` contain
only the code that waits.
"""

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobworker.v1.cluster_service_pb2 import Node, NodeCondition, NodeResources
from jobworker.v1.error_reason_pb2 import ErrorReason
from jobworker.v1.job_output_pb2 import OutputSource
from jobworker.v1.job_pb2 import (
    AppliedIsolation,
    AppliedLimit,
    IsolationPart,
    Job,
    JobNetwork,
    JobStatus,
    JobStdin,
    JobTerminal,
    Limit,
    LimitsPolicy,
    TerminationReason,
    Usage,
)
from jobworker.v1.job_watch_pb2 import RemovalReason
from jobworker_client.chunks import Chunk, source_runs, split_chunk
from jobworker_client.config import ClientConfig
from jobworker_client.errors import (
    CertificateRevoked,
    ClusterRefused,
    ClusterUnavailable,
    CommandNotStarted,
    ConfigError,
    ConnectFailure,
    ConnectionLost,
    DeadlineExceeded,
    FieldViolation,
    HostExhausted,
    InputOffsetOutOfRange,
    InvalidAddress,
    InvalidCertificateFile,
    InvalidRequest,
    JobNotFinal,
    JobNotFound,
    JobNotRunning,
    JobWorkerError,
    LimitUnavailable,
    MessageTooLarge,
    NodeUnreachable,
    NoStdin,
    OffsetOutOfRange,
    QuotaExceeded,
    ReaderStalled,
    RequestIdReused,
    RoleRequired,
    ServerBusy,
    ShuttingDown,
    StatusLost,
    StdinInUse,
    SupervisorUnavailable,
    TooManyJobs,
    Unauthenticated,
    UnexpectedOffset,
    Unreachable,
)
from jobworker_client.events import (
    EventHandler,
    JobChanged,
    JobRemoved,
    Reconnecting,
    StreamEvent,
    TerminalResized,
    TruncatedRange,
    WatchEvent,
    WatchSynced,
)
from jobworker_client.options import (
    AttachOptions,
    JobFilter,
    JobOptions,
    JobSelection,
    LimitChanges,
    Limits,
    Seconds,
    StreamOptions,
    WatchFilter,
)
from jobworker_client.resumable_stream import StreamStatus
from jobworker_client.resumable_watch import WatchStatus

if TYPE_CHECKING:
    from jobworker_client.aio.attach import AttachedStream
    from jobworker_client.aio.client import Client
    from jobworker_client.aio.stream import JobStream
    from jobworker_client.aio.watch import JobWatch
    from jobworker_client.sync.attach import SyncAttachedStream
    from jobworker_client.sync.client import SyncClient
    from jobworker_client.sync.stream import SyncJobStream
    from jobworker_client.sync.watch import SyncJobWatch

__all__ = [
    "AppliedIsolation",
    "AppliedLimit",
    "AttachOptions",
    "AttachedStream",
    "CertificateRevoked",
    "Chunk",
    "Client",
    "ClientConfig",
    "ClusterRefused",
    "ClusterUnavailable",
    "CommandNotStarted",
    "ConfigError",
    "ConnectFailure",
    "ConnectionLost",
    "DeadlineExceeded",
    "ErrorReason",
    "EventHandler",
    "FieldViolation",
    "HostExhausted",
    "InputOffsetOutOfRange",
    "InvalidAddress",
    "InvalidCertificateFile",
    "InvalidRequest",
    "IsolationPart",
    "Job",
    "JobChanged",
    "JobFilter",
    "JobNetwork",
    "JobNotFinal",
    "JobNotFound",
    "JobNotRunning",
    "JobOptions",
    "JobRemoved",
    "JobSelection",
    "JobStatus",
    "JobStdin",
    "JobStream",
    "JobTerminal",
    "JobWatch",
    "JobWorkerError",
    "Limit",
    "LimitChanges",
    "LimitUnavailable",
    "Limits",
    "LimitsPolicy",
    "MessageTooLarge",
    "NoStdin",
    "Node",
    "NodeCondition",
    "NodeResources",
    "NodeUnreachable",
    "OffsetOutOfRange",
    "OutputSource",
    "QuotaExceeded",
    "ReaderStalled",
    "Reconnecting",
    "RemovalReason",
    "RequestIdReused",
    "RoleRequired",
    "Seconds",
    "ServerBusy",
    "ShuttingDown",
    "StatusLost",
    "StdinInUse",
    "StreamEvent",
    "StreamOptions",
    "StreamStatus",
    "SupervisorUnavailable",
    "SyncAttachedStream",
    "SyncClient",
    "SyncJobStream",
    "SyncJobWatch",
    "TerminalResized",
    "TerminationReason",
    "TooManyJobs",
    "TruncatedRange",
    "Unauthenticated",
    "UnexpectedOffset",
    "Unreachable",
    "Usage",
    "WatchEvent",
    "WatchFilter",
    "WatchStatus",
    "WatchSynced",
    "source_runs",
    "split_chunk",
]

# Imported on first use (PEP 562): a program needs only one client, and no gRPC for the errors.
_LAZY = MappingProxyType(
    {
        "Client": "jobworker_client.aio.client",
        "AttachedStream": "jobworker_client.aio.attach",
        "JobStream": "jobworker_client.aio.stream",
        "JobWatch": "jobworker_client.aio.watch",
        "SyncAttachedStream": "jobworker_client.sync.attach",
        "SyncClient": "jobworker_client.sync.client",
        "SyncJobStream": "jobworker_client.sync.stream",
        "SyncJobWatch": "jobworker_client.sync.watch",
    }
)

# Hidden from type checkers: with this function they would accept any attribute of the module.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type:
        """Import a class."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: type = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names, including those that are not imported yet."""
        return sorted(__all__)
