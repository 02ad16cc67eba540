"""Create, follow and stop jobs of a jobworkerd server, with asyncio (`Client`) or without (`SyncClient`).

>>> with SyncClient.from_env() as client:
...     job = client.run("echo", "hello", limits=Limits(cpu=50, memory=64))
...     for chunk in client.stream(job.id):
...         print(chunk.payload)
b'hello\\n'

What does not wait (requests, errors, when to repeat a call, where a broken stream goes on) is written once;
`aio` and `sync` are two thin shells over it.
"""

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobworker.v1.job_pb2 import (
    AppliedIsolation,
    AppliedLimit,
    Job,
    JobNetwork,
    JobStatus,
    TerminationReason,
    Usage,
)
from jobworker.v1.job_service_pb2 import OutputSource
from jobworker_client.errors import (
    AddressInvalid,
    Cause,
    CertificateUnusable,
    CommandNotStarted,
    ConnectionLost,
    DeadlineExceeded,
    FieldViolation,
    HostExhausted,
    InvalidRequest,
    JobNotFound,
    JobNotRunning,
    JobWorkerError,
    LimitUnavailable,
    OffsetOutOfRange,
    ReaderStalled,
    RequestIdReused,
    RoleRequired,
    ShuttingDown,
    SupervisorUnavailable,
    TooManyJobs,
    Unauthenticated,
    Unreachable,
    WrongOffset,
)
from jobworker_client.pieces import Chunk, pieces, runs
from jobworker_client.requests import JobFilter, JobOptions, LimitChanges, Limits, Part, Span
from jobworker_client.resumable_stream import Notify, Resuming, Truncated
from jobworker_client.target import Target

if TYPE_CHECKING:
    from jobworker_client.aio.client import Client
    from jobworker_client.aio.stream import Stream
    from jobworker_client.sync.client import SyncClient
    from jobworker_client.sync.stream import SyncStream

__all__ = [
    "AddressInvalid",
    "AppliedIsolation",
    "AppliedLimit",
    "Cause",
    "CertificateUnusable",
    "Chunk",
    "Client",
    "CommandNotStarted",
    "ConnectionLost",
    "DeadlineExceeded",
    "FieldViolation",
    "HostExhausted",
    "InvalidRequest",
    "Job",
    "JobFilter",
    "JobNetwork",
    "JobNotFound",
    "JobNotRunning",
    "JobOptions",
    "JobStatus",
    "JobWorkerError",
    "LimitChanges",
    "LimitUnavailable",
    "Limits",
    "Notify",
    "OffsetOutOfRange",
    "OutputSource",
    "Part",
    "ReaderStalled",
    "RequestIdReused",
    "Resuming",
    "RoleRequired",
    "ShuttingDown",
    "Span",
    "Stream",
    "SupervisorUnavailable",
    "SyncClient",
    "SyncStream",
    "Target",
    "TerminationReason",
    "TooManyJobs",
    "Truncated",
    "Unauthenticated",
    "Unreachable",
    "Usage",
    "WrongOffset",
    "pieces",
    "runs",
]

# Imported by their first use (PEP 562): a program needs one of the two halves, and gRPC for neither's errors.
_LAZY = MappingProxyType(
    {
        "Client": "jobworker_client.aio.client",
        "Stream": "jobworker_client.aio.stream",
        "SyncClient": "jobworker_client.sync.client",
        "SyncStream": "jobworker_client.sync.stream",
    }
)

# Type checkers read the imports above: for them this function would give the module every attribute.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> type:
        """Imports a class."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        """Returns the public names, those that are not imported yet included."""
        return sorted(__all__)
