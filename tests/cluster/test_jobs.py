"""Jobs of a cluster, from the call to the record."""

import asyncio

import grpc

from jobworker.v1 import (
    cluster_service_pb2,
    cluster_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
)
from jobworker_command import LIMITS, Jobworker
from live_client import Client, refused
from tests.cluster.calls import on
from tests.cluster.hosts import CPU, MAX_JOBS, MEMORY
from tests.cluster.whole import Cluster

_NOWHERE = {"kubernetes.io/hostname": "no-such-host"}


async def test_a_job_runs_on_a_node_and_its_output_arrives(admin: Client, cluster: Cluster) -> None:
    job, output = await admin.run("sh", "-c", "echo out; exit 3")
    assert output == b"out\n"
    assert (job.status, job.exit_code) == (job_pb2.JOB_STATUS_FAILED, 3)
    assert job.node in {host.name for host in cluster.hosts}
    assert job.attempt == 1
    assert await admin.get(job.id) == job


async def test_both_gateways_have_the_same_record(admin: Client, other_admin: Client) -> None:
    job, output = await admin.run("echo", "out")
    again = await other_admin.stream(job.id)
    assert (again.result, again.bytes()) == (job, output)
    assert await other_admin.get(job.id) == job


async def test_a_command_that_does_not_exist_is_in_the_record(admin: Client) -> None:
    job, _ = await admin.run("/no/such/command")
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_NOT_STARTED
    assert "/no/such/command" in job.termination.message


async def test_a_running_job_is_stopped_through_the_other_gateway(admin: Client, other_admin: Client) -> None:
    job = await admin.create("sleep", "600")
    await admin.started(job.id)
    stopped = await other_admin.stop(job.id)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.reason == job_pb2.TERMINATION_REASON_STOPPED
    assert "Admin" in stopped.termination.stopped_by
    assert await admin.get(job.id) == stopped


async def test_a_queued_job_says_why_it_waits_and_can_be_stopped(admin: Client) -> None:
    job = await admin.create("true", node_selector=_NOWHERE)
    async with asyncio.timeout(30):
        while not (waiting := await admin.get(job.id)).queue_reason:
            await asyncio.sleep(0.05)
    assert waiting.status == job_pb2.JOB_STATUS_QUEUED
    stopped = await admin.stop(job.id)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert not stopped.node
    assert not stopped.HasField("start_time")


async def test_a_job_that_waits_too_long_ends(admin: Client) -> None:
    request = job_service_pb2.CreateJobRequest(
        command="true", max_cpu=10, max_memory=16, node_selector=_NOWHERE
    )
    request.queue_timeout.FromSeconds(1)
    job = (await admin.stub.CreateJob(request, timeout=30)).job
    ended = await admin.ended(job.id)
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT


async def test_a_request_id_names_one_job_at_all_gateways(admin: Client, other_admin: Client) -> None:
    job = await admin.create("sleep", "1", request_id="one-job")
    assert (await other_admin.create("sleep", "1", request_id="one-job")).id == job.id
    await admin.ended(job.id)
    assert (await other_admin.create("sleep", "1", request_id="one-job")).id == job.id
    async with refused(grpc.StatusCode.ALREADY_EXISTS) as refusal:
        await other_admin.create("sleep", "2", request_id="one-job")
    assert refusal.reason == "REQUEST_ID_REUSED"


async def test_an_unknown_queue_is_refused(admin: Client) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await admin.create("true", queue="no-such-queue")
    assert "no-such-queue" in refusal.message


async def test_nodes_are_listed_with_what_is_assigned(admin: Client, cluster: Cluster) -> None:
    job = await admin.create("sleep", "600", max_cpu=150, max_memory=256, node_selector=on("node-2"))
    try:
        await admin.started(job.id)
        stub = cluster_service_pb2_grpc.ClusterServiceStub(admin.channel)
        nodes = (await stub.ListNodes(cluster_service_pb2.ListNodesRequest(), timeout=30)).nodes
        assert [node.name for node in nodes] == [host.name for host in cluster.hosts]
        assert all(node.ready and node.schedulable for node in nodes)
        second = nodes[1]
        assert (second.capacity.cpu, second.capacity.memory, second.capacity.jobs) == (CPU, MEMORY, MAX_JOBS)
        assert (second.allocated.cpu, second.allocated.memory, second.allocated.jobs) == (150, 256, 1)
        assert second.address == cluster.host("node-2").server.address
    finally:
        await admin.stop(job.id, seconds=0)


async def test_lists_of_all_gateways_have_waiting_running_and_ended_jobs(
    admin: Client, other_admin: Client
) -> None:
    labels = {"test": "lists"}
    ended, _ = await admin.run("true", labels=labels)
    running = await admin.create("sleep", "600", labels=labels)
    await admin.started(running.id)
    waiting = await admin.create("true", labels=labels, node_selector=_NOWHERE)
    try:
        request = job_service_pb2.ListJobsRequest(labels=labels)
        for each in (admin, other_admin):
            async with asyncio.timeout(10):
                while len(jobs := (await each.stub.ListJobs(request, timeout=30)).jobs) < 3:
                    await asyncio.sleep(0.02)
            assert [job.id for job in jobs] == [waiting.id, running.id, ended.id]
    finally:
        for job in (running, waiting):
            await admin.stop(job.id, seconds=0)


def test_input_reaches_a_job(cluster: Cluster) -> None:
    done = Jobworker(cluster.gateway.server)("run", "-i", *LIMITS, "cat", stdin=b"to the node and back\n")
    assert (done.returncode, done.stdout) == (0, b"to the node and back\n"), done.stderr


async def test_a_deleted_job_is_gone_at_all_gateways(admin: Client, other_admin: Client) -> None:
    job, _ = await admin.run("true")
    await admin.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=job.id), timeout=30)
    for each in (admin, other_admin):
        async with refused(grpc.StatusCode.NOT_FOUND):
            await each.get(job.id)
