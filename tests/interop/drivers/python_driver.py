"""What the two Python drivers share: a line of JSON as a request, and an answer as a line of JSON."""

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import TypedDict

from google.protobuf.json_format import MessageToDict, ParseDict

from jobworker.v1 import job_service_pb2
from jobworker_client import Chunk, Job, JobFilter, JobStatus, JobWorkerError, OutputSource, Part, Truncated

__all__ = [
    "Ask",
    "Tally",
    "answer",
    "asked",
    "create_request",
    "job_filter",
    "part",
    "refused",
    "result",
]

SOURCES = {"stdout": OutputSource.OUTPUT_SOURCE_STDOUT, "stderr": OutputSource.OUTPUT_SOURCE_STDERR}


class Ask(TypedDict, total=False):
    """A request: `op`, and its arguments."""

    op: str
    deadline: float
    job: dict[str, object]
    id: str
    statuses: list[str]
    labels: dict[str, str]
    id_prefix: str
    page_size: int
    grace_period: float
    offset: int
    tail_lines: int
    tail_bytes: int
    source: str
    follow: bool
    cancel_after_bytes: int


def asked() -> Iterator[Ask]:
    """Yields the requests that come on stdin."""
    for line in sys.stdin:
        ask: Ask = json.loads(line)
        yield ask


def answer(result: object) -> None:
    """Writes an answer."""
    print(json.dumps(result), flush=True)


def result(job: Job) -> dict[str, object]:
    """Returns the answer that a job is."""
    return {"result": MessageToDict(job)}


def refused(error: JobWorkerError) -> dict[str, object]:
    """Returns the answer that an error is."""
    return {
        "error": {
            "code": error.code,
            "reason": error.reason,
            "message": error.message,
            "fields": [violation.field for violation in error.fields],
            "metadata": dict(error.metadata),
        }
    }


def create_request(ask: Ask) -> job_service_pb2.CreateJobRequest:
    """Returns the request for a job."""
    request = job_service_pb2.CreateJobRequest()
    ParseDict(ask["job"], request)
    return request


def job_filter(ask: Ask) -> JobFilter:
    """Returns which jobs are asked for."""
    return JobFilter(
        statuses=[JobStatus.Value(name) for name in ask.get("statuses", ())],
        labels=ask.get("labels", {}),
        id_prefix=ask.get("id_prefix", ""),
    )


def part(ask: Ask) -> Part:
    """Returns which part of the output is asked for."""
    wanted = Part(offset=ask.get("offset", 0), follow=ask.get("follow", True))
    if "tail_lines" in ask:
        wanted["tail_lines"] = ask["tail_lines"]
    if "tail_bytes" in ask:
        wanted["tail_bytes"] = ask["tail_bytes"]
    if "source" in ask:
        wanted["source"] = SOURCES[ask["source"]]
    return wanted


class Tally:
    """What came of a stream."""

    def __init__(self, ask: Ask) -> None:
        self._enough = ask.get("cancel_after_bytes")
        self._hash = hashlib.sha256()
        self._bytes = 0
        self._begin: int | None = None
        self._end = ask.get("offset", 0)

    def add(self, chunk: Chunk) -> bool:
        """Counts a chunk, and tells whether there is to be no other."""
        self._hash.update(chunk.payload)
        self._bytes += len(chunk.payload)
        self._begin = chunk.offset if self._begin is None else self._begin
        self._end = chunk.offset + len(chunk.payload)
        return self._enough is not None and self._bytes >= self._enough

    def answer(self, position: int, truncated: tuple[Truncated, ...], job: Job | None) -> dict[str, object]:
        """Returns the answer; `position` is where the stream stands."""
        end = self._end if self._begin is not None else position
        return {
            "result": {
                "sha256": self._hash.hexdigest(),
                "bytes": self._bytes,
                "begin": end if self._begin is None else self._begin,
                "end": end,
                "truncated": [[missing.begin, missing.end] for missing in truncated],
                "job": None if job is None else MessageToDict(job),
            }
        }
