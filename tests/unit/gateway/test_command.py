"""The command `jobworker` and its dashboard with a gateway: they are those of a single host."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from api_server import Authority, Logged, eventually

from dashboard import Dashboard
from dashboard_page import Page
from jobworker.v1 import cluster_service_pb2, job_pb2, login_service_pb2, login_service_pb2_grpc
from live import Server
from running_gateway import Gateway, running_gateway
from server_fixtures import logged
from tests.unit.cli.conftest import Cli, finished

__all__ = ["logged"]

NOT_STARTED = job_pb2.TERMINATION_REASON_NOT_STARTED
EVICTED = job_pb2.TERMINATION_REASON_EVICTED


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of the clients and of the gateway."""
    return Authority()


@pytest.fixture
async def gateway(tmp_path: Path, authority: Authority, logged: Logged) -> AsyncIterator[Gateway]:
    """A running gateway with two nodes."""
    async with running_gateway(tmp_path, authority, logged) as running:
        for name in ("one", "two"):
            running.cluster.add_node(name, "127.0.0.1:1")
        yield running


@pytest.fixture
def certs(tmp_path: Path, authority: Authority) -> Path:
    """A directory with the certificate of an admin."""
    directory = tmp_path / "client"
    directory.mkdir()
    authority.ca.cert_pem.write_to_path(directory / "ca.pem")
    issued = authority.client("alice", "Admin")
    issued.cert_chain_pems[0].write_to_path(directory / "admin.pem")
    issued.private_key_pem.write_to_path(directory / "admin-key.pem")
    (directory / "admin-key.pem").chmod(0o600)
    return directory


@pytest.fixture
async def cli(gateway: Gateway, certs: Path, tmp_path: Path) -> AsyncIterator[Cli]:
    """The command, configured for the gateway."""
    cli = Cli(tmp_path, gateway.address, certs)
    yield cli
    await cli.close()


def changed(job: job_pb2.Job, status: str, **fields: Any) -> job_pb2.Job:
    """Return a copy of a job with another status and other fields."""
    copy = job_pb2.Job(**fields)
    copy.MergeFrom(job)
    copy.status = job_pb2.JobStatus.Value(f"JOB_STATUS_{status}")
    return copy


async def test_nodes_are_listed(cli: Cli) -> None:
    shown = await cli("nodes", "-q")
    assert (shown.text.split(), shown.stderr) == (["one", "two"], "")
    assert "one" in (await cli("nodes", "-o", "wide")).text


async def test_a_job_is_placed_in_the_queue(cli: Cli, gateway: Gateway) -> None:
    options = ("--queue-name", "gpu", "--node-selector", "zone=a", "--retry-on-lost", "--priority", "5")
    created = await cli("create", *options, "make", "test")
    assert created.code == 0, created.stderr
    [accepted] = gateway.cluster.engine.submitted
    job = accepted.job
    assert (job.queue, dict(job.node_selector), job.retry_on_lost) == ("gpu", {"zone": "a"}, True)
    for words in (("get", job.id[:13]), ("queue",), ("list", "--status", "queued")):
        assert job.id in (await cli(*words)).text
    await gateway.cluster.put(changed(job, "INITIALIZING", node="two"))
    head, row = (await cli("list")).text.splitlines()
    assert row[head.index("NODE") :].split()[0] == "two"


async def test_an_unknown_queue_names_the_option(cli: Cli) -> None:
    refused = await cli("create", "--queue-name", "cpu", "true")
    assert refused.code == 1
    assert "error: --queue-name: unknown queue 'cpu'; use gpu, or leave it unset" in refused.stderr


@pytest.mark.parametrize(("status", "reason"), [("FAILED", NOT_STARTED), ("STOPPED", EVICTED)])
async def test_run_follows_a_job_from_the_queue_to_its_end(
    cli: Cli, gateway: Gateway, status: str, reason: job_pb2.TerminationReason.ValueType
) -> None:
    engine = gateway.cluster.engine
    process = await cli.start("run", "true")
    await eventually(lambda: bool(engine.submitted))
    job = engine.submitted[0].job
    await gateway.cluster.put(changed(job, "INITIALIZING", node="one"))
    end = job_pb2.Termination(reason=reason, message="the reason")
    await gateway.cluster.put(changed(job, status, node="one", termination=end))
    ended = await finished(process)
    assert (ended.code, ended.stdout) == (125, b"")
    assert ended.stderr.splitlines()[-1] == "jobworker: the reason"


async def test_the_link_of_a_shared_dashboard_logs_the_user_in(cli: Cli, gateway: Gateway) -> None:
    printed = await cli("dashboard", "login", "--no-browser", "--url", "https://jobs.example.org")
    assert printed.code == 0, printed.stderr
    token = printed.text.strip().removeprefix("https://jobs.example.org/login#")
    async with gateway.client("Delegate", "dashboard") as channel:
        stub = login_service_pb2_grpc.LoginServiceStub(channel)
        answer = await stub.RedeemLogin(login_service_pb2.RedeemLoginRequest(token=token))
    assert answer.identity.subject.startswith("CN=alice,OU=Admin")


async def test_the_dashboard_knows_the_gateway(gateway: Gateway, certs: Path) -> None:
    def look() -> tuple[bool, list[str]]:
        with ExitStack() as resources:
            dashboard = resources.enter_context(Dashboard.started(Server(gateway.address, certs)))
            page = Page.logged_in(dashboard.login)
            session = json.loads(page.request("GET", "/session")[1])
            _, body = page.request("POST", "/jobworker.v1.ClusterService/ListNodes")
        found = cluster_service_pb2.ListNodesResponse.FromString(body)
        return session["gateway"], [node.name for node in found.nodes]

    # In a thread, because the gateway answers in this loop.
    assert await asyncio.to_thread(look) == (True, ["one", "two"])
