"""`jobworkerd-dashboard`: several users at once, each with their own role."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from restarts import supervisor

from dashboard_page import Page, log_in, reason, responses
from jobworker.v1 import job_service_pb2, job_watch_pb2
from live import Server, eventually
from live_client import Client

BIN = Path(sys.executable).parent


@contextlib.contextmanager
def shared_dashboard(server: Server, directory: Path) -> Iterator[str]:
    """Start a shared dashboard with its own certificate, and yield its address."""
    subprocess.run(
        [
            BIN / "jobworkerd",
            "certs",
            "issue",
            "dashboard",
            "--role=delegate",
            "--force",
            "--dir",
            server.certs,
        ],
        check=True,
        capture_output=True,
    )
    (directory / "dashboard.toml").write_text(
        f"""
        listen = "127.0.0.1:0"
        server = "{server.address}"
        ca = "{server.certs}/ca.pem"
        certificate = "{server.certs}/dashboard.pem"
        key = "{server.certs}/dashboard-key.pem"
        """
    )
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    argv: list[str | Path] = [BIN / "jobworkerd-dashboard", "--config", directory / "dashboard.toml"]
    argv += [f"--url={address}", f"--listen=127.0.0.1:{port}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert address in process.stdout.readline()
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def free_port() -> int:
    """Return a port that no other process uses now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def link(server: Server, address: str, role: str) -> str:
    """Return what `jobworker dashboard login` prints."""
    env = {**os.environ, "JOBWORKER_SERVER": server.address, "JOBWORKER_CERTS": str(server.certs)}
    argv: list[str | Path] = [
        BIN / "jobworker",
        "--role",
        role,
        "dashboard",
        "login",
        "--no-browser",
        "--url",
        address,
    ]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=env)
    assert re.fullmatch(rf"{address}/login#\S+\n", done.stdout)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def address(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with shared_dashboard(server, tmp_path_factory.mktemp("dashboard")) as address:
        yield address


async def test_each_user_has_their_own_role_and_jobs(server: Server, address: str, admin: Client) -> None:
    pages = {role: Page.logged_in(link(server, address, role)) for role in ("admin", "viewer")}
    for role, page in pages.items():
        session = json.loads(page.request("GET", "/session")[1])
        assert (session["role"].lower(), session["mode"]) == (role, "delegated")
    create = job_service_pb2.CreateJobRequest(command="true", max_memory=64)
    answer, body = pages["admin"].call("CreateJob", create)
    job = job_service_pb2.CreateJobResponse.FromString(body).job
    assert (
        job.owner
        == (await admin.get(job.id)).owner
        == json.loads(pages["admin"].request("GET", "/session")[1])["subject"]
    )
    answer, body = pages["viewer"].call("CreateJob", create)
    assert (answer.status, reason(json.loads(body))) == (403, "ROLE_REQUIRED")
    async with pages["viewer"].stream("WatchJobs") as stream:
        await stream.send(job_watch_pb2.WatchJobsRequest().SerializeToString())
        assert isinstance(await stream.recv(), bytes)


async def test_a_link_works_once_and_a_logout_ends_the_session(server: Server, address: str) -> None:
    printed = link(server, address, "viewer")
    page = Page.logged_in(printed)
    assert log_in(address, printed.partition("#")[2]).status == 401
    assert page.request("DELETE", "/session")[0].status == 204
    assert page.request("GET", "/session")[0].status == 401
    async with page.stream("WatchJobs") as stream:
        assert (await responses(stream))[1]["error"]["code"] == "unauthenticated"  # type: ignore[index]


async def test_a_session_survives_a_kill_of_the_supervisor(own_server: Server, tmp_path: Path) -> None:
    with shared_dashboard(own_server, tmp_path) as address:
        page = Page.logged_in(link(own_server, address, "viewer"))
        supervisor(own_server).kill()
        request = job_service_pb2.ListJobsRequest()
        await eventually(lambda: page.call("ListJobs", request)[0].status == 200)
