"""The API processes, which take bytes from the network: as whom they run, and what that user can do."""

import contextlib
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from live import Server, client, make_certificates, until

BIN = Path(sys.executable).parent
INTRUDER = Path(__file__).with_name("intruder.py")

DYNAMIC = 1_899_999_999
NOBODY = pwd.getpwnam("nobody")
NO_CAPABILITY = "0000000000000000"
CAP_NET_BIND_SERVICE = "0000000000000400"


def status(process: psutil.Process) -> dict[str, str]:
    """Returns what the kernel says of a process (proc_pid_status(5))."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def ids(number: int) -> str:
    """Returns an id as real, effective, saved and file system's one."""
    return " ".join([str(number)] * 4)


def allowed(uid: int, *directories: Path) -> set[tuple[str, Path]]:
    """Returns what a user can do in directories, each with the file or the directory that he does it to."""
    argv: list[str | Path] = [sys.executable, INTRUDER, str(uid), *directories]
    output = subprocess.run(argv, check=True, capture_output=True).stdout
    return {(what, Path(path)) for what, path in json.loads(output)}


def assert_it_may_nothing(process: psutil.Process, capabilities: str = NO_CAPABILITY) -> None:
    """Checks all threads' users, groups and capabilities: each thread has its own."""
    for thread in process.threads():
        found = status(psutil.Process(thread.id))
        assert found["Uid"] == found["Gid"] == ids(DYNAMIC)
        assert found["Groups"] == ""
        assert found["CapPrm"] == found["CapEff"] == capabilities
        assert found["CapInh"] == found["CapBnd"] == found["CapAmb"] == NO_CAPABILITY
        assert found["NoNewPrivs"] == "1"
        assert found["Umask"] == "0077"
    # Who may not be looked into by others of the same user has files of root's here: proc(5), "/proc/pid".
    assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0


def serving(server: Server, count: int) -> bool:
    """Tells whether so many API processes, ended ones among them, have begun to serve."""
    return sum(event["event"] == "listening" for event in server.events()) == count


def free_low_port() -> int:
    """Returns a port below 1024 on which nobody listens."""
    for port in range(1023, 512, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all low ports are taken")


def serial(server: Server) -> str:
    """Returns the serial number of the certificate that the server shows."""
    context = ssl.create_default_context(cafile=server.certs / "ca.pem")
    context.load_cert_chain(server.certs / "admin.pem", server.certs / "admin-key.pem")
    with (
        socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=30) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as connection,
    ):
        found = connection.getpeercert()
    assert found
    return str(found["serialNumber"])


@pytest.mark.root
async def test_it_has_no_account_no_group_and_no_capability_and_neither_has_its_successor(
    own_server: Server,
) -> None:
    (process,) = own_server.api_processes()
    assert_it_may_nothing(process)
    process.kill()
    until(lambda: serving(own_server, 2))
    (successor,) = own_server.api_processes()
    assert successor.pid != process.pid
    assert_it_may_nothing(successor)
    async with client(own_server, "admin") as admin:
        assert (await admin.run("echo", "hello"))[1] == b"hello\n"


@pytest.mark.root
async def test_its_user_can_read_the_logs_but_no_key_and_change_nothing(
    own_server: Server, tmp_path: Path
) -> None:
    certs = shutil.copytree(own_server.certs, tmp_path / "certs")
    certs.chmod(0o755)  # so that the keys' own mode is what counts
    state = tmp_path / "state" / "state"
    async with client(own_server, "admin") as admin:
        await admin.run("echo", "hello")
        running = await admin.create("sleep", "1000")
        found = allowed(DYNAMIC, state, own_server.certs, certs)
        assert (state / "lock").exists()
        assert (certs / "ca-key.pem").exists()
        logs = {path for path in (state / "jobs").glob("*/*") if path.name in {"output.log", "output.idx"}}
        assert {path.parent.name for path in logs} >= {running.id}
        certificates = {path for path in certs.glob("*.pem") if not path.stem.endswith("-key")}
        assert found == {("read", path) for path in logs | certificates}
        assert allowed(NOBODY.pw_uid, state) == set()


@pytest.fixture
def closed_umask() -> Iterator[None]:
    """A umask as careful administrators have it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.root
@pytest.mark.usefixtures("closed_umask")
async def test_two_share_the_port(certs: Path, tmp_path: Path) -> None:
    with Server.started(BIN, certs, tmp_path, "--api-processes", "2") as server:
        until(lambda: serving(server, 2))
        ports = []
        for process in server.api_processes():
            assert_it_may_nothing(process)
            ports += [each.laddr.port for each in process.net_connections() if each.status == "LISTEN"]
        assert ports == [int(server.address.rpartition(":")[2])] * 2
        for _ in range(10):
            async with client(server, "admin") as admin:
                assert (await admin.run("echo", "hello"))[1] == b"hello\n"


@pytest.mark.root
async def test_a_low_port_leaves_it_the_one_capability_for_that(certs: Path, tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_low_port()}"
    with Server.started(BIN, certs, tmp_path, "--listen", listen) as server:
        assert server.address == listen
        (process,) = server.api_processes()
        assert_it_may_nothing(process, CAP_NET_BIND_SERVICE)
        async with client(server, "admin") as admin:
            assert (await admin.run("echo", "hello"))[1] == b"hello\n"


def test_it_shows_a_renewed_certificate_whose_key_it_cannot_read(tmp_path: Path) -> None:
    certs = make_certificates(BIN, tmp_path / "certs")
    with Server.started(BIN, certs, tmp_path) as server:
        before = serial(server)
        issue = ["certs", "issue", "server", "--role", "server", "--force", "--dir"]
        subprocess.run([BIN / "jobworkerd", *issue, certs], check=True, capture_output=True)
        until(lambda: serial(server) != before)
        assert server.has_event("certificates renewed")


@pytest.mark.root
async def test_the_user_can_be_another_one_each_time(certs: Path, tmp_path: Path) -> None:
    for name, uid, gid in (
        ("root", 0, 0),
        ("nobody", NOBODY.pw_uid, NOBODY.pw_gid),
        ("dynamic", DYNAMIC, DYNAMIC),
        ("root", 0, 0),
    ):
        with Server.started(BIN, certs, tmp_path, JOBWORKERD_API_USER=name) as server:
            found = status(*server.api_processes())
            assert (found["Uid"], found["Gid"]) == (ids(uid), ids(gid))
            assert found["NoNewPrivs"] == "1"
            async with client(server, "admin") as admin:
                assert (await admin.run("echo", "hello"))[1] == b"hello\n"
            # Nobody but him has the logs: what an earlier server's user could read is gone.
            can_read = allowed(DYNAMIC, tmp_path / "state")
            assert bool(can_read) == (name == "dynamic")


def test_a_user_whom_this_host_does_not_have(certs: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "JOBWORKERD_API_USER": "no-one-at-all"}
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--state-dir", tmp_path, "--certs-dir", certs]
    ended = subprocess.run(argv, env=environ, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 1
    (event,) = map(json.loads, ended.stderr.splitlines())
    assert event["event"] == "cannot start"
    assert event["reason"].startswith('this host has no user "no-one-at-all"; create it, or set api.user')
