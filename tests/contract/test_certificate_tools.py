"""Certificates of OpenSSL with an intermediate authority, made by the commands of docs/certificates.md."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from jobworker.v1 import job_service_pb2
from live import Server, eventually
from live_client import Client, client, refused

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[2] / "docs/certificates.md"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an ECDSA key of the server, an RSA key of alice and an ECDSA key of bob."""
    directory = tmp_path_factory.mktemp("issued")
    _run_block("OpenSSL", directory)
    return directory


@pytest.fixture(scope="module")
def server(issued: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with these certificates."""
    with Server.started(BIN, issued, tmp_path_factory.mktemp("state")) as started:
        yield started


async def test_the_subject_has_the_role(server: Server) -> None:
    async with client(server, "alice") as admin, client(server, "bob") as viewer:
        job = await admin.create("true")
        assert job.owner == "CN=alice,OU=Admin"
        assert (await viewer.get(job.id)).id == job.id
        async with refused(grpc.StatusCode.PERMISSION_DENIED) as refusal:
            await viewer.create("true")
    assert refusal.reason == "ROLE_REQUIRED"


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_the_commands_accept_the_chain(server: Server, name: str) -> None:
    ca, cert, key = (server.certs / f"{each}.pem" for each in ("ca", name, f"{name}-key"))
    env = {**os.environ, "JOBWORKER_SERVER": server.address, "JOBWORKER_CA": str(ca)}
    env |= {"JOBWORKER_CERT": str(cert), "JOBWORKER_KEY": str(key)}
    subprocess.run([BIN / "jobworker", "list"], env=env, check=True)
    grpcurl: list[str | Path] = [BIN / "grpcurl", "-cacert", ca, "-cert", cert, "-key", key]
    subprocess.run([*grpcurl, server.address, "jobworker.v1.JobService/ListJobs"], check=True)


async def test_the_intermediate_authority_revokes(server: Server, issued: Path) -> None:
    """The last test of this file: it revokes alice."""
    async with client(server, "alice") as alice, client(server, "bob") as bob:
        await _list(alice)
        _run_block("Revocation lists", issued)
        await eventually(lambda: server.has_event("certificates renewed"))
        async with refused(grpc.StatusCode.PERMISSION_DENIED) as refusal:
            await _list(alice)
        await _list(bob)
    assert refusal.reason == "CERTIFICATE_REVOKED"


async def _list(caller: Client) -> None:
    await caller.stub.ListJobs(job_service_pb2.ListJobsRequest(), timeout=30)


def _run_block(section: str, directory: Path) -> None:
    """Run the first shell block of a section of the page in a directory."""
    block = re.search(rf"^### {section}$.*?^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert block
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-e", "-c", block[1]], cwd=directory, env=env, check=True)
