"""The handshake between the supervisor and a spare process: all messages, with encoding and decoding.

The control socket is a SOCK_SEQPACKET socket with one message per packet. In order:

1. Spare process, and then its init: `Forked` with its own PID, so that it can be discarded.
2. Spare process: `Ready`. The supervisor can use the process now.
3. Supervisor: an `ExecRequest`, as the descriptor of a file in memory. With it come the descriptors of the
   job's stdin, unless that is /dev/null, and of the scratch's mount, if that is on disk.
4. Supervisor: the release, with the descriptor of the job's cgroup directory.
5. Spare process: `Started` with the PID of the process that becomes the job.
6. The job's process: `Refused` if it runs with less isolation than requested.
7. The end of the socket when execve(2) succeeds.

`Failed` can replace each message after the first. The fork server sends it if it cannot fork.

The fork server loads this module, so it imports only what the interpreter has loaded: NamedTuple instead of
dataclasses, and marshal, because both ends belong to one program.
"""

import errno
import marshal
import socket
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from jobworkerd.keeper import memory_file
from jobworkerd.keeper.inheritance import receive_fds
from jobworkerd.spawn.identity import Identity

MAX_REPORT_BYTES = 256
"""Upper bound for the length of a report."""

_CONTENT = b"!"
"""The content of a message that carries only descriptors: an empty packet looks like the end."""

RequestedNetwork: TypeAlias = Literal["host", "none", "none if possible"]


class MalformedMessage(ValueError):
    """Raised when a message does not follow the protocol, for example because it is truncated."""


class ExecRequest(NamedTuple):
    """The arguments of execve(2), and the part of the isolation that differs between jobs.

    The supervisor encodes all strings, because bytes mean the same under every locale. `argv[0]` is a path,
    or a name that is searched in the PATH of `env`. Without a `user` the job runs as the server's user.
    `home` is the private directory that the user owns; it is empty without private directories. `accounts`
    are the entries for the user (see `private_mounts.name_user`). `scratch_bytes` is the bound on the private
    directories, or 0 without them. With `terminal`, the sent stdin is the controlling terminal, and also
    stdout and stderr. With `scratch_on_disk`, the last sent descriptor is the mount of the scratch.
    """

    directory: bytes
    argv: list[bytes]
    env: dict[bytes, bytes]
    user: Identity | None = None
    home: bytes = b""
    accounts: tuple[tuple[bytes, bytes], ...] = ()
    network: RequestedNetwork = "host"
    scratch_bytes: int = 0
    terminal: bool = False
    scratch_on_disk: bool = False


class Forked(NamedTuple):
    """The sender exists, and the supervisor must discard it: the spare process, or its init."""

    pid: int


class Ready(NamedTuple):
    """The spare process waits for an `ExecRequest`.

    `init` is 0 without a PID namespace. `refused` maps each part of the isolation that the kernel refused to
    its errno.
    """

    pid: int
    init: int
    refused: Mapping[str, int]


class Started(NamedTuple):
    """The process that becomes the job exists."""

    pid: int


class Refused(NamedTuple):
    """The kernel refused more parts of the isolation; the errno of each."""

    parts: Mapping[str, int]


class Failed(NamedTuple):
    """A step failed with an errno. No job comes from this spare process."""

    step: str
    code: int


Report: TypeAlias = Forked | Ready | Started | Refused | Failed


def encode(report: Report) -> bytes:
    """Return a report as a packet: its kind and its fields, separated by spaces."""
    return _encode(report).encode()


def _encode(report: Report) -> str:
    match report:
        case Forked(pid):
            return f"forked {pid}"
        case Ready(pid, init, refused):
            return f"ready {pid} {init}{_encode_parts(refused)}"
        case Started(pid):
            return f"started {pid}"
        case Refused(parts):
            return f"refused{_encode_parts(parts)}"
        case Failed(step, code):
            return f"failed {step} {code}"


def decode(packet: bytes) -> Report:
    """Return the report in a packet.

    Raises:
        MalformedMessage: the packet is not a report.
    """
    try:
        return _decode(packet.decode("ascii").split(" "))
    except ValueError as error:
        raise MalformedMessage(f"malformed report: {packet!r}") from error


def _decode(words: list[str]) -> Report:
    match words:
        case ["forked", pid]:
            return Forked(int(pid))
        case ["ready", pid, init, *parts]:
            return Ready(int(pid), int(init), _decode_parts(parts))
        case ["started", pid]:
            return Started(int(pid))
        case ["refused", *parts]:
            return Refused(_decode_parts(parts))
        case ["failed", step, code]:
            return Failed(step, int(code))
    raise ValueError


def _encode_parts(parts: Mapping[str, int]) -> str:
    return "".join(f" {part}={code}" for part, code in parts.items())


def _decode_parts(words: list[str]) -> dict[str, int]:
    return {part: int(code) for part, code in (word.split("=") for word in words)}


def receive(control: socket.socket) -> Report | None:
    """Receive the next report; return None if the process has ended or has called execve(2).

    Raises:
        BlockingIOError: no report has arrived yet.
        MalformedMessage: the packet is not a report.
    """
    return _receive(control, 0)


def peek(control: socket.socket) -> Report | None:
    """Return the next report, like `receive`, but leave it in the socket."""
    return _receive(control, socket.MSG_PEEK)


def _receive(control: socket.socket, flags: int) -> Report | None:
    try:
        packet = control.recv(MAX_REPORT_BYTES, flags)
    except ConnectionResetError:
        # The process has not read all messages. Reports that it sent before its end follow this error.
        try:
            packet = control.recv(MAX_REPORT_BYTES, flags)
        except ConnectionResetError:
            return None
    return decode(packet) if packet else None


def send(control: socket.socket, descriptors: list[int]) -> None:
    """Send descriptors to a spare process: those of an `ExecRequest`, or a cgroup directory.

    Raises:
        OSError: the process was killed (EAGAIN).
    """
    try:
        socket.send_fds(control, [_CONTENT], descriptors)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise OSError(errno.EAGAIN, "the spare process was killed", "request") from error


def receive_descriptors(control: socket.socket) -> list[int] | None:
    """Receive the descriptors that the supervisor sent, at most three; return None at the end."""
    content, descriptors, _ = receive_fds(control, 1, 3)
    return descriptors if content else None


def write_request(request: ExecRequest) -> int:
    """Return the descriptor of a file with a request. The caller closes it.

    Raises:
        OSError: the host is out of memory.
    """
    user = request.user and tuple(request.user)
    return write_values((*request[:3], user, *request[4:]))


def read_request(file: int) -> ExecRequest:
    """Return the request in a file.

    Raises:
        MalformedMessage: the file does not contain a request.
    """
    try:
        request = ExecRequest(*read_values(file))  # type: ignore[arg-type]
        return request._replace(user=request.user and Identity(*request.user))
    except (EOFError, TypeError, ValueError) as error:
        raise MalformedMessage("malformed ExecRequest") from error


def write_values(values: tuple[object, ...]) -> int:
    """Return the descriptor of a file in memory with values. The caller closes it.

    A socket can be too small for a long command line, and the supervisor must not block.

    Raises:
        OSError: the host is out of memory.
    """
    content = marshal.dumps(values)  # type: ignore[arg-type]  # the stub lists the possible types
    return memory_file.create("jobworkerd-request", content)


def read_values(file: int) -> tuple[object, ...]:
    """Return the values in a file."""
    values: tuple[object, ...] = marshal.loads(memory_file.read(file))  # noqa: S302
    return values
