"""Stops of jobs whose node has not told the cluster what it knows."""

import asyncio

import pytest
import restarts

from jobworker.v1 import job_pb2
from jobworker_cluster import names
from live_client import Client
from tests.cluster.calls import on
from tests.cluster.whole import Cluster


@pytest.mark.parametrize("retry_on_lost", [False, True])
async def test_an_acknowledged_stop_is_final_before_the_cluster_has_the_record(
    admin: Client, other_admin: Client, cluster: Cluster, *, retry_on_lost: bool
) -> None:
    agent = cluster.host("node-1").agent
    job = await admin.create("sleep", "600", node_selector=on("node-1"), retry_on_lost=retry_on_lost)
    await admin.started(job.id)
    agent.suspend()
    try:
        stopped = await admin.stop(job.id, seconds=0)
        assert stopped.status == job_pb2.JOB_STATUS_STOPPED
        assert (stopped.node, stopped.attempt) == ("node-1", 1)
        for each in (admin, other_admin):
            assert await each.get(job.id) == stopped
    finally:
        agent.resume()


async def test_a_kill_reaches_a_job_whose_start_is_not_known_yet(admin: Client, cluster: Cluster) -> None:
    """The job ignores its stop signal. It is killed, or it never starts."""
    supervisor = restarts.supervisor(cluster.host("node-1").server)
    supervisor.suspend()
    try:
        job = await admin.create(
            "sleep",
            "600",
            node_selector=on("node-1"),
            stop_signal="SIGWINCH",
            stop_grace_period={"seconds": 600},
        )
        await _reaches(admin, job.id, job_pb2.JOB_STATUS_INITIALIZING)
        stopping = asyncio.create_task(admin.stop(job.id, seconds=0))
        await _is_marked(cluster, job.id)
    finally:
        supervisor.resume()
    assert (await stopping).status == job_pb2.JOB_STATUS_STOPPED


async def _reaches(client: Client, job_id: str, status: job_pb2.JobStatus.ValueType) -> None:
    async with asyncio.timeout(60):
        while (await client.get(job_id)).status != status:
            await asyncio.sleep(0.02)


async def _is_marked(cluster: Cluster, job_id: str) -> None:
    """Wait until a gateway has noted a stop in the Pod of a job."""
    path = f"/api/v1/namespaces/jobworker/pods/job-{job_id}"
    async with asyncio.timeout(60):
        while True:
            pod = await asyncio.to_thread(cluster.api().call, "GET", path)
            if names.STOPPED_BY in pod["metadata"]["annotations"]:
                return
            await asyncio.sleep(0.02)
