"""The contract tests of the API against a gateway."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from live_client import client
from tests.cluster.calls import stop_all
from tests.cluster.whole import Cluster

_ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1200)
def test_a_gateway_keeps_the_contract_of_the_api(cluster: Cluster) -> None:
    server = cluster.gateway.server
    env = {
        **os.environ,
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
        "PYTHONPATH": str(_ROOT),
        "WITHOUT_EXAMPLES": "1",
    }
    options = ["-p", "tests.cluster.contract_plugin", "-p", "no:cacheprovider", "-q", "-m", "not cgroup"]
    argv = [sys.executable, "-m", "pytest", "tests/contract", *options, "-n", "2", "--dist", "loadfile"]
    try:
        done = subprocess.run(argv, cwd=_ROOT, env=env, capture_output=True, text=True, check=False)
    finally:
        asyncio.run(_stop_all(cluster))
    print(done.stdout.splitlines()[-1] if done.stdout else "")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


async def _stop_all(cluster: Cluster) -> None:
    """The contract tests leave some jobs to the end of the server, but the next tests need the hosts."""
    async with client(cluster.gateway.server, "admin") as admin:
        await stop_all(admin)
