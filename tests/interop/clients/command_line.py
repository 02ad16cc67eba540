"""The common base of grpcurl and `buf curl`.

Each RPC is one run of a program. It prints each message as an indented JSON object, which ends with a
line that contains only `}`.
"""

import abc
import base64
import contextlib
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from tests.interop.driver import CallError, Connection, Operation

Json = dict[str, Any]
SERVICE = "jobworker.v1.JobService"


class CommandLineDriver(abc.ABC):
    """Runs a program per RPC."""

    alive = True
    """No process exists between two calls."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abc.abstractmethod
    def argv(self, connection: Connection, method: str, data: str, deadline: float | None) -> list[str]:
        """Return the command line of an RPC. `data` is the request in JSON; the deadline is in seconds."""

    @abc.abstractmethod
    def parse_error(self, exit_code: int, stderr: str) -> CallError:
        """Return the error that the program reported."""

    def environment(self) -> Mapping[str, str] | None:
        """Return the program's environment. None means the tests' environment."""
        return None

    def run(self, operation: Operation) -> Any:
        """Run an operation; see `Driver`."""
        arguments = dict(operation)
        match arguments.pop("op"):
            case "list":
                return {"ids": list(self._pages(arguments))}
            case "delete":
                return self._only(self._call("DeleteJob", {"id": arguments["id"]}, arguments))
            case "stream":
                return self._stream(arguments)
            case "wait":
                return self._only(self._call("WaitJob", {"id": arguments["id"]}, arguments))["job"]
            case op:
                return self._job(op, arguments)

    def _job(self, op: str, arguments: Json) -> Any:
        method, request = job_request(op, arguments)
        return self._only(self._call(method, request, arguments))["job"]

    @staticmethod
    def _only(messages: Iterable[Json]) -> Json:
        (message,) = messages
        return message

    def _pages(self, arguments: Json) -> Iterator[str]:
        request = {
            "pageSize": arguments.get("page_size", 0),
            "statuses": arguments.get("statuses", []),
            "labels": arguments.get("labels", {}),
            "idPrefix": arguments.get("id_prefix", ""),
            "owner": arguments.get("owner", ""),
            "commandContains": arguments.get("command_contains", ""),
        }
        if created_after := arguments.get("created_after"):
            request["createdAfter"] = created_after
        if created_before := arguments.get("created_before"):
            request["createdBefore"] = created_before
        while True:
            page = self._only(self._call("ListJobs", request, arguments))
            yield from (job["id"] for job in page.get("jobs", []))
            if not (token := page.get("nextPageToken")):
                return
            request["pageToken"] = token

    def _stream(self, arguments: Json) -> Json:
        digest, begin, position, count, job = hashlib.sha256(), None, 0, 0, None
        truncated = []
        limit = arguments.get("cancel_after_bytes")
        with contextlib.closing(
            self._call("GetJobsStream", stream_request(arguments), arguments)
        ) as messages:
            for message in messages:
                payload = base64.b64decode(message.get("payload", ""))
                position = int(message.get("nextOffset", 0))
                if missing := message.get("truncated"):
                    truncated.append([int(missing.get("fromOffset", 0)), int(missing["toOffset"])])
                if payload and begin is None:
                    begin = int(message.get("offset", 0))
                digest.update(payload)
                count += len(payload)
                job = message.get("result")
                if limit is not None and count >= limit:
                    break
        return {
            "sha256": digest.hexdigest(),
            "bytes": count,
            "begin": position if begin is None else begin,
            "end": position,
            "truncated": truncated,
            "job": job,
        }

    def _call(self, method: str, request: Json, arguments: Json) -> Generator[Json]:
        """Yield the messages of an RPC as they arrive. Closing the generator kills the program."""
        argv = self.argv(self._connection, method, json.dumps(request), arguments.get("deadline"))
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, env=self.environment())
            with process:
                try:
                    assert process.stdout
                    yield from messages(process.stdout)
                    if exit_code := process.wait():
                        stderr.seek(0)
                        raise self.parse_error(exit_code, stderr.read().decode())
                finally:
                    process.kill()


def messages(lines: Iterable[bytes]) -> Iterator[Json]:
    """Yield the JSON objects of a concatenation."""
    buffer = b""
    for line in lines:
        buffer += line
        if line in {b"}\n", b"{}\n"}:
            yield json.loads(buffer)
            buffer = b""
    assert not buffer.strip(), buffer


def job_request(op: str, arguments: Json) -> tuple[str, Json]:
    """Return the method and the request of an operation that returns a job."""
    match op:
        case "create":
            return "CreateJob", arguments["job"]
        case "get":
            return "GetJob", {"id": arguments["id"]}
        case "update":
            return "UpdateJob", {"id": arguments["id"], **arguments["limits"]}
        case "stop":
            return "StopJob", stop_request(arguments)
    raise AssertionError(f"unknown operation {op!r}")


def stop_request(arguments: Json) -> Json:
    """Return the request of StopJob. A duration is a string in protobuf's JSON mapping."""
    grace = arguments.get("grace_period")
    return {"id": arguments["id"]} if grace is None else {"id": arguments["id"], "gracePeriod": f"{grace}s"}


def stream_request(arguments: Json) -> Json:
    """Return the request of GetJobsStream."""
    names = {
        "id": "id",
        "offset": "offset",
        "tail_lines": "tailLines",
        "tail_bytes": "tailBytes",
        "follow": "follow",
    }
    request = {names[name]: value for name, value in arguments.items() if name in names}
    if source := arguments.get("source"):
        request["source"] = f"OUTPUT_SOURCE_{source.upper()}"
    return request
