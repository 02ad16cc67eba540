"""Operations as command lines: what grpcurl and `buf curl` have in common.

Each RPC is one run of a program that prints the messages as JSON objects over several lines, the last of
which is a lone `}`.
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

from tests.interop.driver import Connection, Operation, Refused

Json = dict[str, Any]
SERVICE = "jobworker.v1.JobService"


class CommandLineDriver(abc.ABC):
    """Runs a program an RPC."""

    alive = True
    """There is no process between two calls that could have ended."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @abc.abstractmethod
    def argv(self, connection: Connection, method: str, data: str, deadline: float | None) -> list[str]:
        """Returns the command line of one RPC; `data` is the request in JSON, the deadline in seconds."""

    @abc.abstractmethod
    def refusal(self, exit_code: int, stderr: str) -> Refused:
        """Returns the error that the program reported."""

    def environment(self) -> Mapping[str, str] | None:
        """Returns the program's environment; None is ours."""
        return None

    def ask(self, operation: Operation) -> Any:
        """Returns the operation's result; see `Driver`."""
        arguments = dict(operation)
        match arguments.pop("op"):
            case "create":
                return self._job("CreateJob", arguments["job"], arguments)
            case "get":
                return self._job("GetJob", {"id": arguments["id"]}, arguments)
            case "stop":
                return self._job("StopJob", stop_request(arguments), arguments)
            case "wait":
                request = {"id": arguments["id"], "resultOnly": True}
                return self._only(self._call("GetJobsStream", request, arguments))["result"]
            case "list":
                return {"ids": list(self._pages(arguments))}
            case "stream":
                return self._stream(arguments)
            case other:
                raise AssertionError(f"there is no operation {other!r}")

    def _job(self, method: str, request: Json, arguments: Json) -> Any:
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
        }
        while True:
            page = self._only(self._call("ListJobs", request, arguments))
            yield from (job["id"] for job in page.get("jobs", []))
            if not (token := page.get("nextPageToken")):
                return
            request["pageToken"] = token

    def _stream(self, arguments: Json) -> Json:
        digest, begin, at, count, job = hashlib.sha256(), None, 0, 0, None
        truncated = []
        limit = arguments.get("cancel_after_bytes")
        with contextlib.closing(
            self._call("GetJobsStream", stream_request(arguments), arguments)
        ) as messages:
            for message in messages:
                payload = base64.b64decode(message.get("payload", ""))
                at = int(message.get("offset", 0)) + len(payload)
                if lost := message.get("truncated"):
                    truncated.append([int(lost.get("fromOffset", 0)), at := int(lost["toOffset"])])
                if payload and begin is None:
                    begin = at - len(payload)
                digest.update(payload)
                count += len(payload)
                job = message.get("result")
                if limit is not None and count >= limit:
                    break
        return {
            "sha256": digest.hexdigest(),
            "bytes": count,
            "begin": at if begin is None else begin,
            "end": at,
            "truncated": truncated,
            "job": job,
        }

    def _call(self, method: str, request: Json, arguments: Json) -> Generator[Json]:
        """Yields an RPC's messages as they come; ends the program when it is closed before."""
        argv = self.argv(self._connection, method, json.dumps(request), arguments.get("deadline"))
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, env=self.environment())
            with process:
                try:
                    assert process.stdout
                    yield from messages(process.stdout)
                    if exit_code := process.wait():
                        stderr.seek(0)
                        raise self.refusal(exit_code, stderr.read().decode())
                finally:
                    process.kill()


def messages(lines: Iterable[bytes]) -> Iterator[Json]:
    """Yields the JSON objects that stand one behind the other."""
    held = b""
    for line in lines:
        held += line
        if line in {b"}\n", b"{}\n"}:
            yield json.loads(held)
            held = b""
    assert not held.strip(), held


def stop_request(arguments: Json) -> Json:
    """Returns StopJob's request; a duration is a text in protobuf's JSON."""
    grace = arguments.get("grace_period")
    return {"id": arguments["id"]} if grace is None else {"id": arguments["id"], "gracePeriod": f"{grace}s"}


def stream_request(arguments: Json) -> Json:
    """Returns GetJobsStream's request."""
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
