"""Order, preemption, drain and loss: what the control plane decides about jobs."""

import asyncio
from contextlib import AsyncExitStack

import psutil
import pytest

from jobworker.v1 import job_pb2
from live import eventually, pids_with
from live_client import Client
from tests.cluster.calls import on
from tests.cluster.hosts import CPU
from tests.cluster.whole import Cluster

_LOST_SECONDS = 60


async def test_the_highest_priority_starts_first(admin: Client) -> None:
    whole_node = {"max_cpu": CPU, "node_selector": on("node-1")}
    blocker = await admin.create("sleep", "600", **whole_node)
    await admin.started(blocker.id)
    jobs = {}
    for priority in (-5, 0, 60, 0, 50, -5):
        job = await admin.create("true", priority=priority, **whole_node)
        jobs[job.id] = priority
    await admin.stop(blocker.id, seconds=0)
    ended = [await admin.ended(job_id) for job_id in jobs]
    in_order = sorted(ended, key=lambda job: job.start_time.ToNanoseconds())
    # 60 and 50 are of one class, in which the older one starts first.
    assert [jobs[job.id] for job in in_order] == [60, 50, 0, 0, -5, -5]


async def test_an_urgent_job_takes_the_place_of_another(admin: Client) -> None:
    victim = await admin.create("sleep", "600", max_cpu=CPU, node_selector=on("node-1"))
    await admin.started(victim.id)
    urgent = await admin.create("true", max_cpu=CPU, priority=100, node_selector=on("node-1"))
    assert (await admin.ended(urgent.id)).status == job_pb2.JOB_STATUS_COMPLETED
    evicted = await admin.ended(victim.id)
    assert evicted.status == job_pb2.JOB_STATUS_STOPPED
    assert evicted.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
    assert evicted.termination.message


async def test_a_high_priority_ends_no_job(admin: Client) -> None:
    async with AsyncExitStack() as stack:
        running = await admin.create("sleep", "600", max_cpu=CPU, node_selector=on("node-1"))
        stack.push_async_callback(admin.stop, running.id, seconds=0)
        await admin.started(running.id)
        high = await admin.create("true", max_cpu=CPU, priority=50, node_selector=on("node-1"))
        stack.push_async_callback(admin.stop, high.id, seconds=0)
        async with asyncio.timeout(30):
            while not (await admin.get(high.id)).queue_reason:
                await asyncio.sleep(0.05)
        assert (await admin.get(running.id)).status == job_pb2.JOB_STATUS_RUNNING


async def test_a_drained_node_evicts_its_jobs_and_gets_no_more(admin: Client, cluster: Cluster) -> None:
    drained = await admin.create("sleep", "600", node_selector=on("node-3"))
    await admin.started(drained.id)
    try:
        cluster.api().drain("node-3")
        evicted = await admin.ended(drained.id)
        assert evicted.status == job_pb2.JOB_STATUS_STOPPED
        assert evicted.termination.reason == job_pb2.TERMINATION_REASON_EVICTED
        # A scheduler that has just reconnected learns of the change some seconds later.
        async with asyncio.timeout(60):
            while "node-3" in await _nodes_of_jobs(admin):
                pass
    finally:
        cluster.api().cordon("node-3", on=False)
    job, _ = await admin.run("true", node_selector=on("node-3"))
    assert job.node == "node-3"


@pytest.mark.timeout(240)
async def test_a_job_of_a_node_that_is_cut_off_is_lost_and_ends_there(
    admin: Client, other_admin: Client, cluster: Cluster
) -> None:
    marker = "600.25"
    job = await admin.create("sleep", marker, node_selector=on("node-2"))
    await admin.started(job.id)
    place = cluster.host("node-2").place
    try:
        cluster.network.cut(place)
        async with asyncio.timeout(_LOST_SECONDS):
            lost = await admin.ended(job.id)
        assert lost.status == job_pb2.JOB_STATUS_LOST
        assert lost.node == "node-2"
        assert pids_with(marker), "the host has not learned of it"
        assert (await admin.run("true"))[0].node != "node-2"
    finally:
        cluster.network.heal(place)
    await eventually(lambda: not pids_with(marker))
    await asyncio.to_thread(cluster.wait_until_ready)
    assert await other_admin.get(job.id) == lost


@pytest.mark.timeout(240)
async def test_a_job_with_retry_on_lost_ends_before_it_runs_on_another_node(
    admin: Client, cluster: Cluster
) -> None:
    marker = "600.5"
    job = await admin.create("sleep", marker, retry_on_lost=True)
    first = (await admin.started(job.id)).node
    (pid,) = pids_with(marker)
    process = psutil.Process(pid)
    place = cluster.host(first).place
    try:
        cluster.network.cut(place)
        async with asyncio.timeout(_LOST_SECONDS):
            while not _runs_again(again := await admin.get(job.id)):
                assert not (process.is_running() and len(pids_with(marker)) > 1), "both attempts run"
                await asyncio.sleep(0.1)
        assert again.node != first
        assert not process.is_running()
    finally:
        cluster.network.heal(place)
    stopped = await admin.stop(job.id, seconds=0)
    assert (stopped.status, stopped.attempt) == (job_pb2.JOB_STATUS_STOPPED, 2)
    await asyncio.to_thread(cluster.wait_until_ready)


async def _nodes_of_jobs(admin: Client) -> set[str]:
    """Run some jobs, and return their nodes."""
    jobs = [await admin.create("true") for _ in range(6)]
    return {(await admin.ended(job.id)).node for job in jobs}


def _runs_again(job: job_pb2.Job) -> bool:
    return job.attempt > 1 and job.status == job_pb2.JOB_STATUS_RUNNING
