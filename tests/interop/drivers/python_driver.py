"""The common part of the Python drivers: operations and responses as lines of JSON."""

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import TypedDict

from google.protobuf.json_format import MessageToDict, ParseDict

from jobworker.v1 import job_service_pb2
from jobworker_client import (
    Chunk,
    Job,
    JobChanged,
    JobFilter,
    JobRemoved,
    JobStatus,
    JobWorkerError,
    OutputSource,
    StreamOptions,
    TruncatedRange,
    WatchEvent,
)

__all__ = [
    "Operation",
    "StreamDigest",
    "create_request",
    "error_response",
    "input_data",
    "job_filter",
    "job_response",
    "read_operations",
    "stream_options",
    "update_request",
    "write_response",
]

SOURCES = {"stdout": OutputSource.OUTPUT_SOURCE_STDOUT, "stderr": OutputSource.OUTPUT_SOURCE_STDERR}


class Operation(TypedDict, total=False):
    """An operation, `op`, and its arguments."""

    op: str
    deadline: float
    job: dict[str, object]
    limits: dict[str, object]
    id: str
    ids: list[str]
    statuses: list[str]
    labels: dict[str, str]
    id_prefix: str
    owner: str
    created_after: str
    created_before: str
    command_contains: str
    page_size: int
    grace_period: float
    offset: int
    tail_lines: int
    tail_bytes: int
    source: str
    follow: bool
    cancel_after_bytes: int
    input: str
    eof: bool
    take_over: bool
    size: tuple[int, int]
    signal: str
    redraw: tuple[int, int]
    detach_after_bytes: int


def read_operations() -> Iterator[Operation]:
    """Yield the operations from stdin."""
    for line in sys.stdin:
        operation: Operation = json.loads(line)
        yield operation


def write_response(response: object) -> None:
    """Write a response to stdout."""
    print(json.dumps(response), flush=True)


def job_response(job: Job) -> dict[str, object]:
    """Return the response with a job."""
    return {"result": MessageToDict(job)}


def error_response(error: JobWorkerError) -> dict[str, object]:
    """Return the response with an error."""
    return {
        "error": {
            "code": error.code,
            "reason": error.reason,
            "message": error.message,
            "fields": [violation.field for violation in error.fields],
            "metadata": dict(error.metadata),
        }
    }


def create_request(operation: Operation) -> job_service_pb2.CreateJobRequest:
    """Return the request of CreateJob."""
    request = job_service_pb2.CreateJobRequest()
    ParseDict(operation["job"], request)
    return request


def update_request(operation: Operation) -> job_service_pb2.UpdateJobRequest:
    """Return the request of UpdateJob."""
    request = job_service_pb2.UpdateJobRequest(id=operation["id"])
    ParseDict(operation["limits"], request)
    return request


def job_filter(operation: Operation) -> JobFilter:
    """Return the filter of `list`."""
    found = JobFilter(
        statuses=[JobStatus.Value(name) for name in operation.get("statuses", ())],
        labels=operation.get("labels", {}),
        id_prefix=operation.get("id_prefix", ""),
        owner=operation.get("owner", ""),
        command_contains=operation.get("command_contains", ""),
    )
    if "created_after" in operation:
        found["created_after"] = datetime.fromisoformat(operation["created_after"])
    if "created_before" in operation:
        found["created_before"] = datetime.fromisoformat(operation["created_before"])
    return found


def stream_options(operation: Operation) -> StreamOptions:
    """Return the options of `stream`."""
    options = StreamOptions(offset=operation.get("offset", 0), follow=operation.get("follow", True))
    if "tail_lines" in operation:
        options["tail_lines"] = operation["tail_lines"]
    if "tail_bytes" in operation:
        options["tail_bytes"] = operation["tail_bytes"]
    if "source" in operation:
        options["source"] = SOURCES[operation["source"]]
    return options


def input_data(operation: Operation) -> bytes | None:
    """Return the input of `attach`; None if the call sends no input."""
    return base64.b64decode(operation["input"]) if "input" in operation else None


class WatchedJobs:
    """Jobs that are watched until they have ended."""

    def __init__(self, operation: Operation) -> None:
        self._ids = operation["ids"]
        self._waiting = set(self._ids)
        self._jobs: dict[str, Job] = {}

    def take(self, event: WatchEvent) -> bool:
        """Take an event, and return whether all jobs have ended."""
        match event:
            case JobChanged(job) if job.HasField("end_time"):
                self._jobs[job.id] = job
                self._waiting.discard(job.id)
            case JobRemoved(job_id):
                self._waiting.discard(job_id)
        return not self._waiting

    def response(self) -> dict[str, object]:
        """Return the response."""
        jobs = [self._jobs[job_id] for job_id in self._ids if job_id in self._jobs]
        return {"result": {"jobs": [MessageToDict(job) for job in jobs]}}


class StreamDigest:
    """The hash, size and offsets of the received output."""

    def __init__(self, operation: Operation) -> None:
        self._limit = operation.get("cancel_after_bytes", operation.get("detach_after_bytes"))
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._begin: int | None = None
        self._end = operation.get("offset", 0)

    def add(self, chunk: Chunk) -> bool:
        """Add a chunk; return True if the limit is reached."""
        self._hash.update(chunk.payload)
        self._bytes += len(chunk.payload)
        self._begin = chunk.offset if self._begin is None else self._begin
        self._end = chunk.offset + len(chunk.payload)
        return self._limit is not None and self._bytes >= self._limit

    def response(
        self, position: int, truncated: tuple[TruncatedRange, ...], job: Job | None
    ) -> dict[str, object]:
        """Return the response. `position` is the stream's offset."""
        end = self._end if self._begin is not None else position
        return {
            "result": {
                "sha256": self._hash.hexdigest(),
                "bytes": self._bytes,
                "begin": end if self._begin is None else self._begin,
                "end": end,
                "truncated": [[missing.from_offset, missing.to_offset] for missing in truncated],
                "job": None if job is None else MessageToDict(job),
            }
        }
