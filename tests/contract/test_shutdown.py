"""Check that a shutdown honours the grace periods of jobs."""

import signal
from pathlib import Path

import pytest
from conftest import BIN
from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from live_client import Client, client

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
SLOW = "trap 'sleep 1; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


async def shut_down(server: Server, admin: Client, script: str, grace: float) -> job_pb2.Job:
    """Shut the server down while a job runs, and return the job's result."""
    period = Duration()
    period.FromNanoseconds(int(grace * 10**9))
    job = await admin.create("sh", "-c", script, stop_grace_period=period)
    call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=90)
    messages = aiter(call)
    assert (await anext(messages)).payload == b"ready\n"
    assert server.process
    server.process.send_signal(signal.SIGTERM)
    return [message async for message in messages][-1].result


@pytest.mark.parametrize(
    ("script", "grace", "default", "total", "exit_code"),
    [
        pytest.param(SLOW, 60, "0.1", "60", 7, id="longer-than-the-default"),
        pytest.param(STUBBORN, 0.1, "600", "600", None, id="shorter-than-the-default"),
        pytest.param(STUBBORN, 3600, "10", "0.1", None, id="longer-than-the-bound"),
    ],
)
async def test_shutdown_honours_each_grace_period_up_to_a_bound(
    certs: Path, tmp_path: Path, script: str, grace: float, default: str, total: str, exit_code: int | None
) -> None:
    settings = {"JOBWORKERD_DEFAULTS_STOP_GRACE_PERIOD": default, "JOBWORKERD_SHUTDOWN_TIMEOUT": total}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            result = await shut_down(server, admin, script, grace)
        assert result.status == job_pb2.JOB_STATUS_STOPPED
        assert (result.exit_code if result.HasField("exit_code") else None) == exit_code
        assert server.stop() == 0
