"""The messages between the supervisor and spare processes."""

import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobworkerd.spawn import exec_protocol
from jobworkerd.spawn.exec_protocol import (
    ExecRequest,
    Failed,
    Forked,
    MalformedMessage,
    Ready,
    Refused,
    Report,
    Started,
    decode,
    encode,
)
from jobworkerd.spawn.identity import Identity

Ends = tuple[socket.socket, socket.socket]

REPORTS: list[Report] = [
    Forked(4_194_304),
    Ready(7, 0, {}),
    Ready(7, 8, {"mount": 1, "writable_paths:3": 2}),
    Started(9),
    Refused({"network": 1}),
    Failed("exec", 2),
]
REQUESTS = [
    ExecRequest(b"/", [b"true"], {}),
    ExecRequest(
        directory=b"/tmp",
        argv=[b"sh", b"-c", "echo \u00e4".encode(), b"\xff"],
        env={b"PATH": b"/bin", b"EMPTY": b""},
        user=Identity(5, 6, (7, 8), exclusive=True),
        home=b"/home/job",
        accounts=((b"/etc/passwd", b"job:x:5:6::/:/bin/sh\n"),),
        network="none if possible",
    ),
]


@pytest.fixture
def control() -> Iterator[tuple[socket.socket, socket.socket]]:
    supervisor, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with supervisor, child:
        supervisor.setblocking(False)  # noqa: FBT003 - it takes no keyword
        yield supervisor, child


def file_with(content: bytes) -> int:
    file = os.memfd_create("test")
    os.write(file, content)
    return file


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_survives_encoding(report: Report) -> None:
    decoded = decode(encode(report))
    assert (type(decoded), decoded) == (type(report), report)


def test_the_longest_report_fits_in_a_packet() -> None:
    parts = (
        "mount",
        "uts",
        "ipc",
        "pid",
        "no_new_privileges",
        "session_keyring",
        "writable_paths:999",
        "accounts",
    )
    report = Ready(4_194_304, 4_194_304, dict.fromkeys(parts, 999))
    assert len(encode(report)) <= exec_protocol.MAX_REPORT_BYTES


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"ready",
        b"ready 7",
        b"ready 7 x",
        b"ready 7 8 mount",
        b"ready 7 8 mount=",
        b"ready 7 8 mount=1=2",
        b"forked",
        b"forked x",
        b"forked 1 2",
        b"started",
        b"started 1 2",
        b"refused network",
        b"failed exec",
        b"failed exec ENOENT",
        b"failed exec 2 3",
        b"unknown 1",
        b"\xff",
    ],
)
def test_a_malformed_report_is_an_error(packet: bytes) -> None:
    with pytest.raises(MalformedMessage, match="malformed report"):
        decode(packet)


@pytest.mark.parametrize("report", [each for each in REPORTS if each != Refused({})])
def test_a_report_without_its_last_field_is_an_error(report: Report) -> None:
    packet = encode(report)
    shorter = packet[: packet.rindex(b" ")]
    try:
        assert decode(shorter) != report
    except MalformedMessage:
        return
    assert isinstance(report, Ready | Refused), "only the list of parts can be shorter"


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_survives_its_file(request_: ExecRequest) -> None:
    file = exec_protocol.write_request(request_)
    try:
        found = exec_protocol.read_request(file)
    finally:
        os.close(file)
    assert found == request_
    assert isinstance(found.user, Identity) == isinstance(request_.user, Identity)


def test_each_truncated_request_is_an_error() -> None:
    file = exec_protocol.write_request(REQUESTS[1])
    content = os.pread(file, 1 << 16, 0)
    os.close(file)
    for length in range(len(content)):
        truncated = file_with(content[:length])
        with pytest.raises(MalformedMessage, match="malformed ExecRequest"):
            exec_protocol.read_request(truncated)
        os.close(truncated)


@pytest.mark.parametrize(
    "values",
    [7, (), (b"/",), (b"/", [], {}, None, b"", (), "host", 0, False, False, "more"), (b"/", [], {}, 7)],
)
def test_a_file_with_other_values_is_an_error(values: object) -> None:
    file = file_with(marshal.dumps(values))  # type: ignore[arg-type]
    with pytest.raises(MalformedMessage):
        exec_protocol.read_request(file)
    os.close(file)


def test_reports_arrive_one_by_one(control: Ends) -> None:
    supervisor, child = control
    with pytest.raises(BlockingIOError):
        exec_protocol.receive(supervisor)
    for report in REPORTS:
        child.send(encode(report))
    assert [exec_protocol.receive(supervisor) for _ in REPORTS] == REPORTS
    child.close()
    assert exec_protocol.receive(supervisor) is None


def test_a_process_that_dies_with_an_unread_message_has_ended(
    control: Ends,
) -> None:
    supervisor, child = control
    exec_protocol.send(supervisor, [])
    child.close()
    assert exec_protocol.receive(supervisor) is None
    with pytest.raises(BlockingIOError, match="the spare process was killed"):
        exec_protocol.send(supervisor, [])


def test_a_peeked_report_stays_in_the_socket(control: Ends) -> None:
    supervisor, child = control
    child.send(encode(REPORTS[0]))
    assert [exec_protocol.peek(supervisor) for _ in range(2)] == [REPORTS[0]] * 2
    assert exec_protocol.receive(supervisor) == REPORTS[0]
    with pytest.raises(BlockingIOError):
        exec_protocol.peek(supervisor)


def test_reports_of_a_process_that_dies_with_an_unread_message_arrive(control: Ends) -> None:
    """The kernel reports the unread message first, and then what the process had sent."""
    supervisor, child = control
    exec_protocol.send(supervisor, [])
    for report in REPORTS[:2]:
        child.send(encode(report))
    child.close()
    assert [exec_protocol.receive(supervisor) for _ in range(3)] == [*REPORTS[:2], None]


def test_descriptors_arrive_and_execve_closes_them(control: Ends) -> None:
    supervisor, child = control
    exec_protocol.send(supervisor, [])
    exec_protocol.send(supervisor, [supervisor.fileno()])
    assert exec_protocol.receive_descriptors(child) == []
    descriptors = exec_protocol.receive_descriptors(child)
    assert descriptors
    assert not os.get_inheritable(*descriptors)
    os.close(*descriptors)
    supervisor.close()
    assert exec_protocol.receive_descriptors(child) is None


def test_the_fork_server_imports_no_large_modules() -> None:
    script = "import sys, jobworkerd.spawn.fork_server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    large = {"asyncio", "dataclasses", "inspect", "msgspec", "json", "pwd", "subprocess"}
    assert not large & set(done.stdout.split())
