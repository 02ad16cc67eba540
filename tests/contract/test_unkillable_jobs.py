"""Check that stops and a shutdown report jobs that cannot be killed."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from conftest import BIN
from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, eventually
from live_client import Client, client, refused

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
"""FIFREEZE and FITHAW, the ioctls of fsfreeze(8)."""


@contextmanager
def frozen(directory: Path) -> Iterator[None]:
    """Freeze the file system of a directory: processes that write to it cannot be killed."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, FIFREEZE, 0)
        yield
    finally:
        fcntl.ioctl(descriptor, FITHAW, 0)
        os.close(descriptor)


async def write(admin: Client, file: Path) -> job_pb2.Job:
    """Create a job that writes to a frozen file system; return once the kernel blocks it."""
    job = await admin.create("sh", "-c", f"echo >{file}")
    await eventually(lambda: psutil.Process(job.pid).status() == psutil.STATUS_DISK_SLEEP)
    return job


@pytest.mark.cgroup
@pytest.mark.own_kernel
async def test_a_job_that_cannot_be_killed_is_reported(certs: Path, tmp_path: Path) -> None:
    disk = Path(os.environ["IN_GUEST_DISK"]) / "frozen"
    disk.mkdir()
    disk.chmod(0o777)
    settings = {"JOBWORKERD_ISOLATION_WRITABLE_PATHS": str(disk), "JOBWORKERD_SHUTDOWN_TIMEOUT": "0.1"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            with frozen(disk):
                job = await write(admin, disk / "first")
                request = job_service_pb2.StopJobRequest(id=job.id, grace_period=Duration())
                async with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
                    await admin.stub.StopJob(request, timeout=1)
                async with asyncio.timeout(60):
                    while not (waiting := await admin.get(job.id)).kill_pending:
                        await asyncio.sleep(0.2)
                assert waiting.status == job_pb2.JOB_STATUS_RUNNING
                event: dict[str, Any] = {**server.wait_for_event("kill has no effect")}
                assert event["job_id"] == job.id
                assert {"pid": job.pid, "command": "sh", "state": "D"}.items() <= event["processes"][
                    0
                ].items()
            ended = await admin.ended(job.id)
            assert (ended.status, ended.kill_pending) == (job_pb2.JOB_STATUS_STOPPED, False)
            with frozen(disk):
                job = await write(admin, disk / "second")
                assert server.stop() == 1
                event = {**server.wait_for_event("jobs did not end")}
                assert event["job_ids"] == [job.id]
        await eventually(lambda: not psutil.pid_exists(job.pid))
