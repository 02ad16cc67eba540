"""Each part of a cluster dies while a job writes: its stream continues, and its record is true."""

import asyncio
from collections.abc import Callable

import pytest
import restarts
from restarts import LastingClient, lasting_client

from jobworker.v1 import job_pb2, job_service_pb2
from tests.cluster.calls import on
from tests.cluster.leaders import etcd_leader, lease_leader
from tests.cluster.whole import Cluster

_LINES = 60
_SCRIPT = f"for i in $(seq {_LINES}); do echo line $i; sleep 0.1; done; exit 5"
_OUTPUT = b"".join(f"line {each}\n".encode() for each in range(1, _LINES + 1))


def _kill_etcd_leader(cluster: Cluster) -> None:
    leader = etcd_leader(cluster.control_plane)
    assert leader
    leader.kill()


def _kill_all_apiservers(cluster: Cluster) -> None:
    for each in cluster.control_plane.apiservers:
        each.kill()


_FAULTS: dict[str, Callable[[Cluster], None]] = {
    "agent": lambda cluster: cluster.hosts[0].agent.kill(),
    "supervisor": lambda cluster: restarts.supervisor(cluster.hosts[0].server).kill(),
    "API process of the node": lambda cluster: restarts.api_process(cluster.hosts[0].server).kill(),
    "gateway": lambda cluster: cluster.gateway.service.kill(),
    "apiservers": _kill_all_apiservers,
    "etcd leader": _kill_etcd_leader,
    "scheduler leader": lambda cluster: lease_leader(cluster.control_plane.schedulers).kill(),
    "controller manager leader": lambda cluster: lease_leader(
        cluster.control_plane.controller_managers
    ).kill(),
}


@pytest.mark.parametrize("part", _FAULTS)
async def test_a_stream_survives_the_death_of(part: str, cluster: Cluster) -> None:
    async with lasting_client(cluster.gateway.server) as admin:
        job = await admin.create(
            "sh", "-c", _SCRIPT, node_selector=on("node-1"), request_id=f"death of {part}"
        )
        with restarts.following(admin, job.id) as follower:
            await follower.grew()
            _FAULTS[part](cluster)
            ended = await follower.ended()
        assert bytes(follower.output) == _OUTPUT
        assert (ended.status, ended.exit_code) == (job_pb2.JOB_STATUS_FAILED, 5)
        # Everything works again.
        after = await _ran(admin, f"after the death of {part}")
        assert after.status == job_pb2.JOB_STATUS_COMPLETED
    await asyncio.to_thread(cluster.wait_until_ready)


async def test_a_running_job_can_be_stopped_without_the_control_plane(cluster: Cluster) -> None:
    async with lasting_client(cluster.gateway.server) as admin:
        job = await admin.create("sh", "-c", "echo up; sleep 600", request_id="stopped without apiserver")
        await admin.wrote(job.id, b"up")
        try:
            for each in cluster.control_plane.apiservers:
                each.hold()
            await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=30)
        finally:
            for each in cluster.control_plane.apiservers:
                each.release()
        ended = await admin.ended(job.id)
        assert ended.status == job_pb2.JOB_STATUS_STOPPED
    await asyncio.to_thread(cluster.wait_until_ready)


async def _ran(admin: LastingClient, request_id: str) -> job_pb2.Job:
    job = await admin.create("true", request_id=request_id)
    return await admin.ended(job.id)
