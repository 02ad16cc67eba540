"""Server certificates, keys and revocation lists that the server refuses."""

import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from certificates import Issued, issue
from unusable_pairs import UNUSABLE_PAIRS

from jobworker.v1 import job_service_pb2
from live import Server, eventually
from live_client import client

BIN = Path(sys.executable).parent


@pytest.fixture
def own_certs(certs: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(certs, tmp_path / "certs"))


def test_an_unusable_pair_fails_the_start(own_certs: Path) -> None:
    make, reason = UNUSABLE_PAIRS["RSA-PSS"]
    make(_authority(own_certs)).write_server(own_certs)
    assert f"{own_certs}/server.pem {reason}" in _start_failure(own_certs)


async def test_a_renewal_with_an_unusable_pair_leaves_the_current_one_in_use(
    own_certs: Path, tmp_path: Path
) -> None:
    authority = _authority(own_certs)
    with Server.started(BIN, own_certs, tmp_path / "state") as server:
        for make, reason in UNUSABLE_PAIRS.values():
            make(authority).write_server(own_certs)
            await eventually(lambda reason=reason: any(reason in each for each in _refusals(server)))  # type: ignore[misc]
            await _connect(server)
        assert not server.has_event("certificates renewed")
        issue(authority).write_server(own_certs)
        await eventually(lambda: server.has_event("certificates renewed"))
        await _connect(server)


def test_a_damaged_revocation_list_fails_the_start(own_certs: Path) -> None:
    (own_certs / "crl.pem").write_text("nonsense")
    assert "crl.pem is unusable (the file does not end with" in _start_failure(own_certs)


def _authority(certs: Path) -> Issued:
    return Issued((certs / "ca.pem").read_bytes(), (certs / "ca-key.pem").read_bytes())


def _refusals(server: Server) -> list[str]:
    return [event["reason"] for event in server.events() if event["event"] == "certificates not renewed"]


async def _connect(server: Server) -> None:
    """Connect and call, which fails if the client refuses the certificate of the server."""
    async with client(server, "admin") as admin:
        await admin.stub.ListJobs(job_service_pb2.ListJobsRequest(), timeout=30)


def _start_failure(certs: Path) -> str:
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--listen", "127.0.0.1:0", "--certs-dir", certs]
    argv += ["--state-dir", certs.parent / "state"]
    argv += ["--cgroup-base", f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    return done.stderr
