"""What a scenario sees of a client: operations, answered or refused, whatever language does them.

A driver is asked one operation at a time, as a JSON object: tests/interop/README.md has the table. The
scenarios use `Client`, which has protobuf's messages on their side: a driver's JSON is checked by being read.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from google.protobuf import json_format

from jobworker.v1 import job_pb2, job_service_pb2

Operation = Mapping[str, Any]
"""`op` and its arguments: JSON, so of as many types as there are arguments."""


@dataclass(frozen=True)
class Connection:
    """A server, and who connects to it."""

    server: str
    ca: Path
    cert: Path
    key: Path

    @classmethod
    def of(cls, server: str, certs: Path, role: str, authority: Path | None = None) -> "Connection":
        """Returns that of a role in a folder of certificates; `authority` is another folder to trust."""
        return cls(server, (authority or certs) / "ca.pem", certs / f"{role}.pem", certs / f"{role}-key.pem")

    def environment(self) -> dict[str, str]:
        """Returns the variables that each client's own "from the environment" reads."""
        return {
            "JOBWORKER_SERVER": self.server,
            "JOBWORKER_CA": str(self.ca),
            "JOBWORKER_CERT": str(self.cert),
            "JOBWORKER_KEY": str(self.key),
        }


class Driver(Protocol):
    """Does operations with one client, over one connection."""

    @property
    def alive(self) -> bool:
        """False once it can be asked no more."""

    def ask(self, operation: Operation) -> Any:
        """Returns the operation's result.

        Raises:
            Refused: the client reported an error of gRPC's.
        """


@dataclass(eq=False)
class Refused(Exception):
    """An error as the client reported it: gRPC's code, and what the details say."""

    code: str
    reason: str = ""
    message: str = ""
    fields: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Streamed:
    """What one stream brought: `bytes` of them, the first at `begin`, the last before `end`."""

    sha256: str
    bytes: int
    begin: int
    end: int
    truncated: Sequence[tuple[int, int]]
    job: job_pb2.Job | None


class Client:
    """A driver's operations, with messages."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def create(self, *argv: str, deadline: float | None = None, **fields: Any) -> job_pb2.Job:
        """Creates a job; memory is 64 MiB and CPU a core unless a field says otherwise."""
        limits: dict[str, Any] = {"max_memory": 64, "max_cpu": 100}
        request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], **{**limits, **fields})
        return self._job("create", job=json_format.MessageToDict(request), deadline=deadline)

    def get(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Returns a job."""
        return self._job("get", id=job_id, deadline=deadline)

    def stop(
        self, job_id: str, *, grace_period: float | None = None, deadline: float | None = None
    ) -> job_pb2.Job:
        """Stops a job; times are in seconds."""
        return self._job("stop", id=job_id, grace_period=grace_period, deadline=deadline)

    def wait(self, job_id: str, *, deadline: float | None = None) -> job_pb2.Job:
        """Returns a job once it is final."""
        return self._job("wait", id=job_id, deadline=deadline)

    def list(self, **filters: Any) -> list[str]:
        """Returns the ids of all the jobs that fit, newest first."""
        ids: list[str] = self._ask("list", **filters)["ids"]
        return ids

    def stream(self, job_id: str, **options: Any) -> Streamed:
        """Follows a job's output."""
        answer = self._ask("stream", id=job_id, **options)
        job = json_format.ParseDict(answer["job"], job_pb2.Job()) if answer.get("job") else None
        truncated = [(begin, end) for begin, end in answer.get("truncated", [])]
        return Streamed(answer["sha256"], answer["bytes"], answer["begin"], answer["end"], truncated, job)

    def _job(self, op: str, **arguments: Any) -> job_pb2.Job:
        return json_format.ParseDict(self._ask(op, **arguments), job_pb2.Job())

    def _ask(self, op: str, **arguments: Any) -> Any:
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._driver.ask({"op": op, **given})


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a program that has been told to, by the end of its input or a signal; kills one that does not."""
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
