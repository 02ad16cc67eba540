"""Check that jobs survive supervisors that cannot start."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BIN
from restarts import lasting_client, supervisor

from jobworker.v1 import job_output_pb2, job_pb2
from live import Server, eventually

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
SCRIPT = "trap 'echo bye; exit 7' TERM; n=0; while :; do echo $n; n=$((n + 1)); sleep 0.05; done"


def failed_starts(server: Server) -> int:
    """Return how often a supervisor could not start."""
    return sum(
        each["event"] == "cannot start" and each["process"] == "supervisor" for each in server.events()
    )


@pytest.fixture
def own_certs(certs: Path, tmp_path: Path) -> Path:
    """Certificates that the test can take away."""
    return shutil.copytree(certs, tmp_path / "certs")


@pytest.fixture
def server_with_certs(own_certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with these certificates."""
    with Server.started(BIN, own_certs, tmp_path / "state") as started:
        yield started


async def test_a_job_survives_supervisors_without_an_api_process(
    server_with_certs: Server, own_certs: Path
) -> None:
    server, certificate = server_with_certs, own_certs / "server.pem"
    async with lasting_client(server) as client:
        job = await client.create("sh", "-c", SCRIPT)
        await client.wrote(job.id, b"3\n")
        certificate.rename(own_certs / "away.pem")
        supervisor(server).kill()
        await eventually(lambda: failed_starts(server) > 2)
        (own_certs / "away.pem").rename(certificate)
        seen = await client.get(job.id)
        assert (seen.status, seen.pid) == (job_pb2.JOB_STATUS_RUNNING, job.pid)
        stopped = await client.stop(job.id)
        assert (stopped.status, stopped.exit_code) == (job_pb2.JOB_STATUS_STOPPED, 7)
        lines = (await client.stream(job.id)).bytes(STDOUT).split()
    assert lines == [b"%d" % number for number in range(len(lines) - 1)] + [b"bye"]
