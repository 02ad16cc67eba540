"""The common base of grpcurl and `buf curl`.

Each RPC is one run of a program. It prints each message as an indented JSON object, which ends with a
line that contains only `}`.
"""

import abc
import base64
import contextlib
import json
import subprocess
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import IO, Any

from tests.interop.clients.output_digest import OutputDigest
from tests.interop.driver import CallError, Connection, Operation

Json = dict[str, Any]
SERVICE = "jobworker.v1.JobService"
MAX_INPUT_BYTES = 64 * 1024
"""The size of a piece of the input that the server accepts."""


class CommandLineDriver(abc.ABC):
    """Runs a program per RPC."""

    FROM_STDIN: str
    """The value of the option for the data with which the program reads the requests from its stdin."""

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
            case "attach":
                return self._attach(arguments)
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
        digest = OutputDigest(arguments.get("cancel_after_bytes"))
        with contextlib.closing(
            self._call("GetJobsStream", stream_request(arguments), arguments)
        ) as messages:
            for message in messages:
                if digest.add(message):
                    break
        return digest.result()

    def _attach(self, arguments: Json) -> Json:
        """Attach to a job. Each part of the input follows the answer to the last message."""
        digest = OutputDigest(arguments.get("detach_after_bytes"))
        parts, controls = deque(input_messages(arguments)), deque(control_messages(arguments))
        with self._program("AttachJob", self.FROM_STDIN, arguments) as program:
            program.send({"start": attach_start(arguments)})
            for message in program.messages(while_sending=lambda: bool(parts or controls)):
                if "inputAccepted" in message and parts:
                    program.send(parts.popleft())
                if "output" in message and digest.add(message["output"]):
                    break
                if digest.bytes and controls:
                    program.send(controls.popleft())
        return digest.result()

    def _call(self, method: str, request: Json, arguments: Json) -> Generator[Json]:
        """Yield the messages of an RPC as they arrive. Closing the generator kills the program."""
        with self._program(method, json.dumps(request), arguments) as program:
            yield from program.messages()

    @contextlib.contextmanager
    def _program(self, method: str, data: str, arguments: Json) -> Iterator["_Program"]:
        """Run the program for an RPC, and kill it at the end of the context."""
        argv = self.argv(self._connection, method, data, arguments.get("deadline"))
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=stderr, env=self.environment())
            with process:
                try:
                    yield _Program(process, stderr, self.parse_error)
                finally:
                    process.kill()


class _Program:
    """A running program: requests on its stdin, and messages on its stdout."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        stderr: IO[bytes],
        parse_error: Callable[[int, str], CallError],
    ) -> None:
        self._process = process
        self._stderr = stderr
        self._parse_error = parse_error

    def send(self, request: Json) -> None:
        """Send a request, unless the program has ended."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def messages(self, while_sending: Callable[[], bool] = lambda: False) -> Iterator[Json]:
        """Yield the messages as they arrive. Close the stdin when `while_sending` returns False.

        Programs do not end, even after an error, while their stdin is open.

        Raises:
            CallError: the program reported an error.
        """
        assert self._process.stdin
        assert self._process.stdout
        received = messages(self._process.stdout)
        while True:
            if not while_sending():
                self._process.stdin.close()
            if (message := next(received, None)) is None:
                break
            yield message
        if exit_code := self._process.wait():
            self._stderr.seek(0)
            raise self._parse_error(exit_code, self._stderr.read().decode())


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


def attach_start(arguments: Json) -> Json:
    """Return the first message of AttachJob."""
    start = {"id": arguments["id"], "takeOver": arguments.get("take_over", False)}
    if "input" in arguments:
        start["inputId"] = str(uuid.uuid4())
    if "size" in arguments:
        start["size"] = dict(zip(("columns", "rows"), arguments["size"], strict=True))
    return start


def control_messages(arguments: Json) -> Iterator[Json]:
    """Yield the messages with the signal and the redraw of AttachJob, if there are any."""
    if name := arguments.get("signal"):
        yield {"signal": {"name": name}}
    if size := arguments.get("redraw"):
        yield {"resize": {"columns": size[0], "rows": size[1], "redraw": True}}


def input_messages(arguments: Json) -> Iterator[Json]:
    """Yield the messages with the input of AttachJob, and its end."""
    if "input" not in arguments:
        return
    data = base64.b64decode(arguments["input"])
    for offset in range(0, len(data), MAX_INPUT_BYTES):
        part = base64.b64encode(data[offset : offset + MAX_INPUT_BYTES]).decode()
        yield {"input": {"offset": offset, "data": part}}
    if arguments.get("eof", True):
        yield {"eof": {"offset": len(data)}}
