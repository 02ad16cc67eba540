"""Order, preemption, drain and loss: what the control plane decides about jobs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic

import psutil
import pytest

from jobworker.v1 import job_pb2
from live import eventually, pids_with
from live_client import Client
from tests.cluster.calls import on, stop_all
from tests.cluster.hosts import CPU
from tests.cluster.leaders import lease_leader
from tests.cluster.scheduler_log import SchedulerLog
from tests.cluster.whole import Cluster

_LOST_SECONDS = 60

_CLASSES = (-100, 0, 50)
"""The values of the priority classes that evict no jobs."""

_PRIORITIES = (-5, 0, 60, 49, 50, -100, 99, -5, 0, 10)

_BACKOFF_SECONDS = 2.0
"""The scheduler tries a job again 1 s after the first time, rounded up to whole seconds.

Until then, another one can start before it, whatever its priority is.
"""


async def test_waiting_jobs_start_by_priority_and_then_by_age(admin: Client, cluster: Cluster) -> None:
    blockers = [
        await admin.create("sleep", "600", max_cpu=CPU, node_selector=on(host.name)) for host in cluster.hosts
    ]
    try:
        for blocker in blockers:
            await admin.started(blocker.id)
        log = SchedulerLog(lease_leader(cluster.control_plane.schedulers).log)
        jobs: dict[str, int] = {}
        for priority in _PRIORITIES:
            job = await admin.create("sleep", "600", max_cpu=CPU, priority=priority)
            jobs[job.id] = priority
        await eventually(lambda: log.unfit().keys() >= jobs.keys())
        free_at = monotonic() + _BACKOFF_SECONDS
        await eventually(lambda: monotonic() > free_at)
        running, waiting = blockers[0].id, sorted(jobs, key=lambda each: -_class_of(jobs[each]))
        for number, expected in enumerate(waiting):
            tries = log.unfit()
            await admin.stop(running, seconds=0)
            await eventually(partial(_has_bound, log, number + 1))
            assert log.bound() == waiting[: number + 1]
            # The scheduler is idle when it has tried all others. They keep their order.
            await eventually(partial(_has_tried, log, waiting[number + 1 :], tries))
            running = (await admin.started(expected)).id
        nodes = {(await admin.get(each)).node for each in waiting}
        assert nodes == {cluster.hosts[0].name}
    finally:
        await stop_all(admin)


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
async def test_a_stream_ends_with_the_loss_of_its_job_although_the_job_runs_on(
    admin: Client, cluster: Cluster
) -> None:
    """Only the agent is away. The gateways still reach the server of the host."""
    marker = "600.75"
    job = await admin.create("sh", "-c", f"echo begin; exec sleep {marker}", node_selector=on("node-2"))
    agent = cluster.host("node-2").agent
    try:
        streaming = asyncio.create_task(admin.stream(job.id))
        await admin.wrote(job.id, b"begin")
        agent.hold()
        async with asyncio.timeout(_LOST_SECONDS):
            output = await streaming
        assert output.bytes() == b"begin\n"
        assert output.result
        assert output.result.status == job_pb2.JOB_STATUS_LOST
        assert output.result == await admin.get(job.id)
        assert pids_with(marker), "the job has ended"
        # A stream that begins now reads what there is.
        later = await admin.stream(job.id)
        assert (later.bytes(), later.result) == (output.bytes(), output.result)
    finally:
        agent.release()
    await eventually(lambda: not pids_with(marker))
    await asyncio.to_thread(cluster.wait_until_ready)


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


def _class_of(priority: int) -> int:
    return max(value for value in _CLASSES if value <= priority)


def _has_bound(log: SchedulerLog, count: int) -> bool:
    return len(log.bound()) >= count


def _has_tried(log: SchedulerLog, job_ids: Sequence[str], before: Counter[str]) -> bool:
    """Return whether the scheduler has tried all jobs in vain since then."""
    unfit = log.unfit()
    return all(unfit[each] > before[each] for each in job_ids)
