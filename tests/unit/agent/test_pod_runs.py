"""The attempts of a node, and the orphans."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from jobworker.v1 import job_pb2, node_service_pb2
from jobworker_agent.cluster import PodGone, PodSeen, PodsListed
from jobworker_agent.host_errors import HostUnavailable
from jobworker_agent.orphans import Orphans
from jobworker_agent.pod_run import PodRun
from jobworker_agent.pod_runs import PodRuns
from jobworker_agent.start import Starter
from jobworker_cluster.pods import JobPod
from jobworker_cluster.records import is_final
from tests.unit.agent.fakes import ID, FakeCluster, FakeHost, HeldLease, a_job, a_pod

POD = a_pod()
NEXT = a_pod("uid-2", attempt=2)


class Node:
    """The attempts of a node, and its orphans, without a watch."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.host = FakeHost()
        self.cluster = FakeCluster(POD)
        self.checks = 0
        self.runs = PodRuns(self._new_run, tasks, self._check)
        self.orphans = Orphans(self.host, lambda: self.runs.uids)

    def _new_run(self, pod: JobPod) -> PodRun:
        starter = Starter("host1", self.host, self.cluster, HeldLease())
        return PodRun(pod, starter, _no_delay, steps=Counter())

    def _check(self) -> None:
        self.checks += 1


async def _no_delay(_seconds: float) -> None:
    await asyncio.sleep(0)


async def _until_waiting(host: FakeHost) -> None:
    while host.faults.calls[-1:] != ["wait"]:
        await asyncio.sleep(0)


async def test_each_pod_is_started_once() -> None:
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        node.runs.apply(PodsListed((POD,)))
        node.runs.apply(PodSeen(POD))
        await _until_waiting(node.host)
        node.runs.apply(PodsListed((replace(POD, record=a_job()),)))
        node.runs.apply(PodGone(POD.uid))
    assert len(node.host.starts) == 1


async def test_the_pods_are_counted_by_the_state_of_their_jobs() -> None:
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        assert not node.runs.states()
        node.runs.apply(PodsListed((POD, replace(NEXT, record=a_job(job_pb2.JOB_STATUS_COMPLETED)))))
        assert node.runs.states() == {"pending": 1, "reported": 1}
        await _until_waiting(node.host)
        assert node.runs.states() == {"running": 1, "reported": 1}
        node.runs.apply(PodGone(NEXT.uid))
        assert node.runs.states() == {"running": 1}
        node.runs.apply(PodGone(POD.uid))


async def test_an_old_state_of_a_reported_pod_starts_nothing() -> None:
    """A watch that was interrupted can repeat states from before the report."""
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        node.host.ends_by_itself = True
        node.runs.apply(PodsListed((POD,)))
        while not any(is_final(job) for job in node.cluster.reports):
            await asyncio.sleep(0)
        node.host.jobs.clear()
        node.runs.apply(PodSeen(POD))
    assert len(node.host.starts) == 1


async def test_the_next_attempt_follows_the_one_that_is_gone() -> None:
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        node.runs.apply(PodsListed((POD,)))
        await _until_waiting(node.host)
        node.cluster.pod = NEXT
        node.host.ends_by_itself = True
        node.runs.apply(PodsListed((NEXT,)))
    assert [start.attempt for start in node.host.starts] == [1, 2]
    assert node.cluster.reports[-1].attempt == 2


async def test_a_job_whose_pod_is_gone_is_an_orphan() -> None:
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        node.runs.apply(PodsListed((POD,)))
        await _until_waiting(node.host)
        assert await node.orphans.find() == []
        before = node.checks
        node.runs.apply(PodGone(POD.uid))
        assert node.checks == before + 1
        assert [run.request_id for run in await node.orphans.find()] == [POD.uid]
    assert node.checks == before + 2  # and again after the last step of the attempt


async def test_a_node_that_does_not_know_its_pods_has_no_orphans() -> None:
    async with asyncio.TaskGroup() as tasks:
        node = Node(tasks)
        node.host.jobs[ID] = a_job()
        node.host.request_ids[ID] = "uid-0"
        node.runs.apply(PodGone("uid-9"))
        assert await node.orphans.find() == []
        node.runs.apply(PodsListed(()))
        assert len(await node.orphans.find()) == 1


@pytest.mark.parametrize("call", ["runs", "evict"])
async def test_orphans_are_stopped_after_errors_of_the_host(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworker_agent.orphans._FIRST_DELAY_SECONDS", 0.0)
    host = FakeHost()
    host.jobs[ID] = a_job()
    host.request_ids[ID] = "uid-0"
    host.faults.errors[call] = [HostUnavailable("SUPERVISOR_UNAVAILABLE", "restarts")] * 3
    orphans = Orphans(host, frozenset[str])
    orphans.check()
    task = asyncio.ensure_future(orphans.run())
    await host.changed.wait()
    while not orphans.stopped:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert host.jobs[ID].termination.message == "evicted: the cluster has given up this attempt"
    assert orphans.stopped == 1


async def test_a_job_that_starts_after_the_last_check_is_an_orphan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call that starts it has failed, and its Pod is gone."""
    monkeypatch.setattr("jobworker_agent.orphans._PERIOD_SECONDS", 0.0)
    host = FakeHost()
    host.jobs[ID] = a_job()
    host.request_ids[ID] = "uid-0"
    task = asyncio.ensure_future(Orphans(host, frozenset[str]).run())
    try:
        async with asyncio.timeout(20):
            await host.changed.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert is_final(host.jobs[ID])


class HostThatRestarts(FakeHost):
    """The next attempt takes the place of the orphan while the first stop of it fails."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs[ID] = a_job()
        self.request_ids[ID] = "uid-0"
        self.asked_again = asyncio.Event()

    async def evict(self, job_id: str, message: str) -> job_pb2.Job:
        if self.request_ids[ID] == "uid-0":
            self.request_ids[ID] = "uid-2"
            raise HostUnavailable("SUPERVISOR_UNAVAILABLE", "restarts")
        self.asked_again.set()
        return await super().evict(job_id, message)

    async def runs(self) -> Sequence[node_service_pb2.Run]:
        if self.request_ids[ID] == "uid-2":
            self.asked_again.set()
        return await super().runs()


async def test_a_stop_that_failed_does_not_end_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobworker_agent.orphans._FIRST_DELAY_SECONDS", 0.0)
    host = HostThatRestarts()
    orphans = Orphans(host, lambda: frozenset({"uid-2"}))
    orphans.check()
    task = asyncio.ensure_future(orphans.run())
    await host.asked_again.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not is_final(host.jobs[ID])
