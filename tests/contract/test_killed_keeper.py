"""Check what ends with a killed keeper, and what the next server and its clients find."""

import asyncio
import uuid
from pathlib import Path

import psutil
import pytest
from conftest import BIN
from restarts import crash, keeper, lasting_client

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, still_alive
from live_client import client

WITHOUT_PID_NAMESPACE = {"JOBWORKERD_ISOLATION_PID_NAMESPACE": "false"}
WITHOUT_CGROUPS = ("unshare", "--mount", "sh", "-c", 'umount -R /sys/fs/cgroup && exec "$@"', "sh")
"""A command that executes a server which sees no cgroups."""


@pytest.mark.root
async def test_jobs_without_cgroup_and_pid_namespace_end_with_the_keeper(certs: Path, tmp_path: Path) -> None:
    """The supervisor kills their process groups before it ends."""
    with Server.started(
        BIN, certs, tmp_path / "state", run_by=WITHOUT_CGROUPS, **WITHOUT_PID_NAMESPACE
    ) as server:
        assert server.has_event("no cgroups")
        async with lasting_client(server) as admin:
            job = await admin.create("sh", "-c", "sleep 1000 & echo ready; wait")
            await admin.wrote(job.id, b"ready\n")
        processes = [*psutil.Process(job.pid).children(), psutil.Process(job.pid)]
        assert len(processes) == 2
        crash(server, keeper(server))
        assert still_alive(processes) == []
        server.launch()
        async with lasting_client(server) as admin:
            assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_LOST


async def test_a_waiting_client_learns_that_its_job_is_lost(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        job = await admin.create("sleep", "1000")
        waiter = asyncio.create_task(admin.ended(job.id))
        await asyncio.sleep(0.2)
        crash(own_server, keeper(own_server))
        own_server.launch()
        assert (await waiter).status == job_pb2.JOB_STATUS_LOST


async def test_the_next_server_finds_lost_jobs_history_and_request_ids(own_server: Server) -> None:
    request_id = str(uuid.uuid4())
    async with client(own_server, "admin") as admin:
        done, _ = await admin.run("sh", "-c", "echo done; exit 3")
        running = await admin.create(
            "sh", "-c", "echo before; exec sleep 1000", labels={"kind": "lost"}, request_id=request_id
        )
        await admin.wrote(running.id, b"before\n")
    crash(own_server, keeper(own_server))
    own_server.launch()
    assert own_server.has_event("job lost")
    async with client(own_server, "admin") as admin:
        lost = await admin.get(running.id)
        assert lost.status == job_pb2.JOB_STATUS_LOST
        assert lost.termination.reason == job_pb2.TERMINATION_REASON_LOST
        assert "the server was killed while the job ran" in lost.termination.message
        assert lost.HasField("end_time")
        assert not lost.HasField("exit_code")
        assert (await admin.stream(running.id)).bytes() == b"before\n"
        assert await admin.get(done.id) == done
        assert (await admin.stream(done.id)).bytes() == b"done\n"
        again = await admin.create(
            "sh", "-c", "echo before; exec sleep 1000", labels={"kind": "lost"}, request_id=request_id
        )
        assert again == lost
        listed = await admin.stub.ListJobs(
            job_service_pb2.ListJobsRequest(statuses=[job_pb2.JOB_STATUS_LOST], labels={"kind": "lost"})
        )
        assert [job.id for job in listed.jobs] == [running.id]
        newer, _ = await admin.run("true")
        assert newer.id > running.id
