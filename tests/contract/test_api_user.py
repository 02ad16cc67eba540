"""Check the user of the API processes, which parse bytes from the network, and its permissions."""

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

from live import Server, make_certificates, until
from live_client import client

BIN = Path(sys.executable).parent
INTRUDER = Path(__file__).with_name("intruder.py")

DYNAMIC = 1_899_999_999
NOBODY = pwd.getpwnam("nobody")
NO_CAPABILITY = "0000000000000000"
CAP_NET_BIND_SERVICE = "0000000000000400"


def status(process: psutil.Process) -> dict[str, str]:
    """Return the status of a process as in proc_pid_status(5)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


def ids(number: int) -> str:
    """Return an id four times: real, effective, saved and file system id."""
    return " ".join([str(number)] * 4)


def allowed(uid: int, *directories: Path) -> set[tuple[str, Path]]:
    """Return the operations that a user may perform in directories, each with its path."""
    argv: list[str | Path] = [sys.executable, INTRUDER, str(uid), *directories]
    output = subprocess.run(argv, check=True, capture_output=True).stdout
    return {(what, Path(path)) for what, path in json.loads(output)}


def assert_it_may_nothing(process: psutil.Process, capabilities: str = NO_CAPABILITY) -> None:
    """Check users, groups and capabilities of all threads: the kernel keeps them per thread."""
    for thread in process.threads():
        found = status(psutil.Process(thread.id))
        assert found["Uid"] == found["Gid"] == ids(DYNAMIC)
        assert found["Groups"] == ""
        assert found["CapPrm"] == found["CapEff"] == capabilities
        assert found["CapInh"] == found["CapBnd"] == found["CapAmb"] == NO_CAPABILITY
        assert found["NoNewPrivs"] == "1"
        assert found["Umask"] == "0077"
    # A process that is not dumpable has files owned by root here: proc(5), "/proc/pid".
    assert Path(f"/proc/{process.pid}/mem").stat().st_uid == 0


def serving(server: Server, count: int) -> bool:
    """Return whether this many API processes have begun to serve, including ended ones."""
    return sum(event["event"] == "listening" for event in server.events()) == count


def free_low_port() -> int:
    """Return a free port below 1024."""
    for port in range(1023, 512, -1):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("all low ports are taken")


def serial(server: Server) -> str:
    """Return the serial number of the certificate that the server presents."""
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
async def test_api_processes_have_no_account_no_group_and_no_capability(
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
async def test_the_api_user_can_read_logs_but_no_keys_and_change_nothing(
    own_server: Server, tmp_path: Path
) -> None:
    certs = shutil.copytree(own_server.certs, tmp_path / "certs")
    certs.chmod(0o755)  # the mode of the key files alone must protect them
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
    """Set the umask that hardened hosts use."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.root
@pytest.mark.usefixtures("closed_umask")
async def test_two_api_processes_share_the_port(certs: Path, tmp_path: Path) -> None:
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
@pytest.mark.parametrize(("flag", "field"), [("--listen", "address"), ("--metrics-listen", "metrics")])
async def test_a_port_below_1024_leaves_one_capability(
    certs: Path, tmp_path: Path, flag: str, field: str
) -> None:
    listen = f"127.0.0.1:{free_low_port()}"
    with Server.started(BIN, certs, tmp_path, flag, listen) as server:
        assert server.wait_for_event("serving")[field] == listen
        (process,) = server.api_processes()
        assert_it_may_nothing(process, CAP_NET_BIND_SERVICE)
        async with client(server, "admin") as admin:
            assert (await admin.run("echo", "hello"))[1] == b"hello\n"


def test_a_renewed_certificate_is_served_though_its_key_is_unreadable(tmp_path: Path) -> None:
    certs = make_certificates(BIN, tmp_path / "certs")
    with Server.started(BIN, certs, tmp_path) as server:
        before = serial(server)
        issue = ["certs", "issue", "server", "--role", "server", "--force", "--dir"]
        subprocess.run([BIN / "jobworkerd", *issue, certs], check=True, capture_output=True)
        until(lambda: serial(server) != before)
        assert server.has_event("certificates renewed")


@pytest.mark.root
async def test_the_api_user_can_change_between_starts(certs: Path, tmp_path: Path) -> None:
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
            # Only this user can read the logs: the permissions of the earlier user are gone.
            can_read = allowed(DYNAMIC, tmp_path / "state")
            assert bool(can_read) == (name == "dynamic")


def test_an_unknown_api_user_is_refused(certs: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "JOBWORKERD_API_USER": "no-one-at-all"}
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--state-dir", tmp_path, "--certs-dir", certs]
    ended = subprocess.run(argv, env=environ, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 1
    (event,) = map(json.loads, ended.stderr.splitlines())
    assert event["event"] == "cannot start"
    assert event["reason"].startswith(
        "api.user: this host has no user no-one-at-all; create it, or set api.user"
    )
