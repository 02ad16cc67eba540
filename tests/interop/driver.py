"""The operations that scenarios call on a client, independent of the client's language.

A driver runs one operation at a time, given as a JSON object; tests/interop/README.md documents them.
Scenarios use `Client`, which converts to and from protobuf messages and so checks the driver's JSON.
"""

import base64
import builtins
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from google.protobuf import json_format

from jobworker.v1 import job_pb2, job_service_pb2

Operation = Mapping[str, Any]
"""`op` and its arguments. The values are JSON, so their types depend on the operation."""


@dataclass(frozen=True)
class Connection:
    """The address of a server and the certificate files of a client."""

    server: str
    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(cls, server: str, certs: Path, role: str, ca_certs: Path | None = None) -> "Connection":
        """Return the connection of a role in a directory of certificates.

        `ca_certs` is another directory, from which the client trusts the CA.
        """
        return cls(server, (ca_certs or certs) / "ca.pem", certs / f"{role}.pem", certs / f"{role}-key.pem")

    def environment(self) -> dict[str, str]:
        """Return the environment variables that every client library reads."""
        return {
            "JOBWORKER_SERVER": self.server,
            "JOBWORKER_CA": str(self.ca),
            "JOBWORKER_CERT": str(self.cert),
            "JOBWORKER_KEY": str(self.key),
        }


class Driver(Protocol):
    """Runs operations with one client over one connection."""

    @property
    def alive(self) -> bool:
        """False if the driver has ended."""

    def run(self, operation: Operation) -> Any:
        """Run an operation and return its result.

        Raises:
            CallError: the client reported an error.
        """


@dataclass(eq=False)
class CallError(Exception):
    """An error as the client reported it: the gRPC status code and the error details."""

    code: str
    reason: str = ""
    message: str = ""
    fields: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamResult:
    """The output that a stream returned, from offset `begin` to `end`, and the job from the last message."""

    sha256: str
    bytes: int
    begin: int
    end: int
    truncated: Sequence[tuple[int, int]]
    job: job_pb2.Job | None


class Client:
    """The operations of a driver, with protobuf messages."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def create(self, *argv: str, deadline: float | None = None, **fields: Any) -> job_pb2.Job:
        """Create a job. The default limits are 64 MiB of memory and one core."""
        limits: dict[str, Any] = {"max_memory": 64, "max_cpu": 100}
        request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], **{**limits, **fields})
        return self._job("create", job=json_format.MessageToDict(request), deadline=deadline)

    def get(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Return a job."""
        return self._job("get", id=job_id, deadline=deadline)

    def update(self, job_id: str, *, deadline: float | None = None, **limits: Any) -> job_pb2.Job:
        """Change limits of a job."""
        request = job_service_pb2.UpdateJobRequest(**limits)
        return self._job("update", id=job_id, limits=json_format.MessageToDict(request), deadline=deadline)

    def stop(
        self, job_id: str, *, grace_period: float | None = None, deadline: float | None = None
    ) -> job_pb2.Job:
        """Stop a job. Durations are in seconds."""
        return self._job("stop", id=job_id, grace_period=grace_period, deadline=deadline)

    def delete(self, job_id: str, *, deadline: float | None = None) -> None:
        """Delete a job that has ended."""
        self._run("delete", id=job_id, deadline=deadline)

    def wait(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Return a job when its status is final."""
        return self._job("wait", id=job_id, deadline=deadline)

    def list(self, **filters: Any) -> list[str]:
        """Return the ids of all jobs that match, newest first."""
        ids: list[str] = self._run("list", **filters)["ids"]
        return ids

    def watch(self, *job_ids: str) -> "builtins.list[job_pb2.Job]":
        """Watch jobs until they have ended, and return those that exist."""
        jobs = self._run("watch", ids=job_ids)["jobs"]
        return [json_format.ParseDict(job, job_pb2.Job()) for job in jobs]

    def stream(self, job_id: str, **options: Any) -> StreamResult:
        """Stream a job's output."""
        return self._output("stream", id=job_id, **options)

    def attach(self, job_id: str, data: bytes | None = None, **options: Any) -> StreamResult:
        """Attach to a job and send it the data as input. None = send no input."""
        encoded = None if data is None else base64.b64encode(data).decode()
        return self._output("attach", id=job_id, input=encoded, **options)

    def _output(self, op: str, **arguments: Any) -> StreamResult:
        result = self._run(op, **arguments)
        job = json_format.ParseDict(result["job"], job_pb2.Job()) if result.get("job") else None
        truncated = [(begin, end) for begin, end in result.get("truncated", [])]
        return StreamResult(result["sha256"], result["bytes"], result["begin"], result["end"], truncated, job)

    def _job(self, op: str, **arguments: Any) -> job_pb2.Job:
        return json_format.ParseDict(self._run(op, **arguments), job_pb2.Job())

    def _run(self, op: str, **arguments: Any) -> Any:
        present = {name: value for name, value in arguments.items() if value is not None}
        return self._driver.run({"op": op, **present})


def wait_or_kill(process: "subprocess.Popen[bytes]") -> None:
    """Wait until a stopped program has ended. Kill it after 10 seconds."""
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
