"""The engine against an apiserver in memory: crashes between two steps, and gateways that act at once."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import structlog

from engine_world import (
    CLASSES,
    LEASES,
    NEW,
    PODS,
    SECRETS,
    World,
    accepted,
    open_world,
    running,
    status,
    until,
)
from job_pods import job, pod_item, ran, secret_item
from jobworker.v1 import job_pb2
from jobworker_cluster import job_secrets, names, pods, records, trace_headers
from jobworker_cluster.kube_errors import Conflict
from jobworker_cluster.pods import JobPod
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.kubernetes import engine as engine_module
from jobworker_gateway.kubernetes import final_records, finalizer, time_now
from jobworker_gateway.kubernetes.attempts import Attempts
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.priorities import Priorities
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworker_gateway.kubernetes.submission import Submission
from jobworkerd.errors import (
    ClusterRefused,
    ClusterUnavailable,
    InvalidRequest,
    JobNotFound,
    RequestIdReused,
)
from jobworkerd.trace_context import TraceContext

RUNNING, COMPLETED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_COMPLETED
STOPPED, LOST, QUEUED = job_pb2.JOB_STATUS_STOPPED, job_pb2.JOB_STATUS_LOST, job_pb2.JOB_STATUS_QUEUED
INITIALIZING = job_pb2.JOB_STATUS_INITIALIZING
ONCE, AGAIN = job(), job(retry_on_lost=True)
POD, SECRET = f"{PODS}/job-{ONCE.id}", f"{SECRETS}/job-{ONCE.id}"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways remove the Pods of others with almost no delay."""
    monkeypatch.setattr(finalizer, "TAKE_OVER_SECONDS", 0.05)


@pytest.fixture
def patient(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it comes first
    """Let gateways leave the Pods of others alone."""
    monkeypatch.setattr(finalizer, "TAKE_OVER_SECONDS", 3600.0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


def attempt(engine: KubernetesEngine) -> int:
    live = engine.jobs.get(AGAIN.id)
    return live.job.attempt if live else 0


async def test_a_job_is_archived_before_it_leaves_the_cluster(world: World) -> None:
    async with world.gateway() as engine:
        created = await engine.submit(accepted(ONCE))
        assert (created.status, created.queue_reason) == (QUEUED, "waits for the scheduler of the cluster")
        await world.change(ONCE)
        await status(engine, ONCE, INITIALIZING)
        await world.change(ONCE, record=ran(ONCE, RUNNING), phase="Running")
        await status(engine, ONCE, RUNNING)
        world.server.requests.clear()
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        assert (await status(engine, ONCE, COMPLETED)).node == "node-1"
        assert ONCE.id in world.archive.rows
        await until(lambda: not engine.jobs.get(ONCE.id))
    changes = [each for each in world.server.requests if not each.startswith("GET")]
    assert changes == [f"DELETE {SECRET}", f"PATCH {POD}", f"DELETE {POD}"]
    assert not world.jobs_left


@pytest.mark.parametrize("has_seen_the_secret", [True, False])
@pytest.mark.parametrize(("request_id", "archived"), [("r", "a-hash"), ("", "")])
async def test_a_reader_of_pods_cannot_test_guesses_of_the_environment(
    world: World, request_id: str, archived: str, *, has_seen_the_secret: bool
) -> None:
    """The hash of the request is for retries only, so only the Secret and then the archive have it."""
    async with world.gateway() as engine:
        await engine.submit(accepted(ONCE, request_id, "a-hash"))
        await until(lambda: ONCE.id in engine._state.secrets)
        assert "a-hash" not in json.dumps(world.server.objects[POD])
        if not has_seen_the_secret:
            engine._state.secrets.clear()
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: not world.jobs_left)
    assert world.archive.rows[ONCE.id].request_hash == archived


async def test_a_job_keeps_the_trace_of_the_first_of_several_equal_requests(world: World) -> None:
    first, second = (TraceContext(f"00-{digit * 32}-{digit * 16}-01", "a=1") for digit in "12")
    async with world.gateway() as engine:
        created = await engine.submit(accepted(ONCE, "r", trace=first))
        assert (await engine.submit(accepted(job(2), "r", trace=second))).id == created.id
        assert (await engine.submit(accepted(job(3), "r"))).id == created.id
        await world.change(ONCE)
        await status(engine, ONCE, INITIALIZING)
    (secret,) = (item for path, item in world.server.objects.items() if path.startswith(SECRETS))
    found = trace_headers.from_annotations(secret["metadata"]["annotations"])
    assert (found.traceparent, found.tracestate) == (first.traceparent, "a=1")
    request = job_secrets.read(secret).request.SerializeToString()
    assert first.trace_id.encode() not in request


async def test_the_next_attempt_has_the_trace_of_the_job(world: World) -> None:
    trace = TraceContext(f"00-{'1' * 32}-{'2' * 16}-01")
    async with world.gateway() as engine:
        await engine.submit(accepted(AGAIN, trace=trace))
        await world.change(AGAIN, record=ran(AGAIN, STOPPED, "EVICTED"), phase="Failed")
        await until(lambda: attempt(engine) == 2)
    secret = world.server.objects[f"{SECRETS}/job-{AGAIN.id}"]
    assert secret["metadata"]["annotations"][names.TRACEPARENT] == trace.traceparent


async def test_a_job_whose_node_has_no_room_is_in_the_queue(world: World) -> None:
    """Users of the host have taken the room that the scheduler counted on."""
    await world.start(ONCE, node="node-1", shortage="8 jobs are running")
    async with world.gateway() as engine:
        waiting = await status(engine, ONCE, QUEUED)
        assert waiting.queue_reason == "waits on node node-1: 8 jobs are running"
        assert waiting.node == "node-1"
        await world.change(ONCE, record=ran(ONCE, RUNNING), phase="Running")
        assert not (await status(engine, ONCE, RUNNING)).queue_reason


@pytest.mark.parametrize(
    "forged",
    [
        {names.JOB: records.encode(job(2)), names.RECORD: records.encode(ran(job(2), COMPLETED))},
        {names.ATTEMPT: str(2**31)},
    ],
)
async def test_an_agent_that_an_attacker_controls_affects_no_other_job(
    world: World, forged: dict[str, str]
) -> None:
    other = job(2)
    await world.start(other, node="node-2", record=ran(other, RUNNING))
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, other, RUNNING)
        await status(engine, ONCE, RUNNING)
        item = world.server.objects[POD]
        item["metadata"]["annotations"] |= forged
        await world.server.put(POD, item)
        last = job(3)
        await world.start(last, node="node-1", record=ran(last, RUNNING))
        await status(engine, last, RUNNING)
        await until(lambda: ONCE.id in world.archive.rows)
        live = engine.jobs.get(other.id)
        assert live
        assert (live.job.status, live.job.node) == (RUNNING, "node-2")
    assert list(world.archive.rows) == [ONCE.id]


async def test_no_status_is_final_while_the_archive_does_not_answer(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        world.archive.available = False
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: world.archive.refused)
        live = engine.jobs.get(ONCE.id)
        assert live
        assert (live.job.status, live.job.HasField("end_time")) == (RUNNING, False)
        assert len(world.jobs_left) == 2
        world.archive.available = True
        await status(engine, ONCE, COMPLETED)
        await until(lambda: not world.jobs_left)


@pytest.mark.parametrize("steps", [1, 2, 3])
async def test_another_gateway_goes_on_after_a_crash_between_two_steps(world: World, steps: int) -> None:
    """One gateway ended after it archived the job, removed its Secret, or removed the finalizer."""
    record = ran(ONCE, COMPLETED)
    await world.start(ONCE, node="node-1", record=record, gateway="former")
    await world.archive.add(ArchivedJob(record))
    if steps > 1:
        await world.server.remove(SECRET)
    if steps > 2:
        item = world.server.objects[POD]
        item["metadata"]["finalizers"] = []
        await world.server.put(POD, item)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE) == record


async def test_two_gateways_end_a_job_at_once(world: World) -> None:
    async with world.gateway() as one, world.gateway() as two:
        await one.submit(accepted(ONCE))
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: not one.jobs.get(ONCE.id) and not two.jobs.get(ONCE.id))
        assert await one.find(ONCE.id) is None
    assert not world.jobs_left
    assert len(world.archive.rows) == 1


@pytest.mark.usefixtures("patient")
async def test_the_gateway_that_created_a_pod_removes_it(world: World) -> None:
    async with world.gateway() as one, world.gateway() as two:
        await one.submit(accepted(ONCE))
        await until(lambda: two.jobs.get(ONCE.id))
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: not one.jobs.get(ONCE.id) and not two.jobs.get(ONCE.id))
    assert world.server.requests.count(f"PATCH {POD}") == 1


@pytest.mark.usefixtures("patient")
async def test_a_pod_whose_secret_has_just_gone_is_left_to_its_gateway(world: World) -> None:
    """The watch of the Secrets is faster than that of the Pods."""
    await world.archive.add(ArchivedJob(ran(ONCE, COMPLETED)))
    await world.server.put(POD, pod_item(ONCE, node="node-1", gateway="other"))
    async with world.gateway() as engine:
        await status(engine, ONCE, COMPLETED)
        own = job(2)
        await engine.submit(accepted(own))
        await world.change(own, record=ran(own, COMPLETED), phase="Succeeded")
        await until(lambda: not engine.jobs.get(own.id))
    assert world.jobs_left == [POD]
    assert f"PATCH {POD}" not in world.server.requests


async def test_a_crash_between_secret_and_pod_starts_the_job(world: World) -> None:
    await world.accept(ONCE, **NEW)
    async with world.gateway() as engine:
        found = await engine.find(ONCE.id)
        assert found
        assert found.job.status == QUEUED
        assert engine.jobs.get(ONCE.id) == found
    assert POD in world.server.objects


async def test_nobody_has_to_ask_for_a_job_without_a_pod(world: World) -> None:
    await world.accept(ONCE, **NEW)
    async with world.gateway():
        await until(lambda: POD in world.server.objects)


async def test_no_pod_is_missing_before_all_are_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many jobs, the list takes seconds. To ask for each of them would take it longer."""
    monkeypatch.setattr(engine_module, "_MISSING_POD_SECONDS", 0.0)
    monkeypatch.setattr(engine_module, "_TICK_SECONDS", 0.001)
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    listed, ticks = asyncio.Event(), 0

    def tick() -> list[str]:
        nonlocal ticks
        ticks += 1
        return []

    world.server.before_get[PODS] = listed.wait
    engine = KubernetesEngine(KubernetesSettings(), world.archive, world.connect())
    monkeypatch.setattr(engine._timeouts, "due", tick)
    async with running(engine):
        await until(lambda: ticks > 10)
        assert not engine._tasks._tasks
        listed.set()
        await status(engine, ONCE, RUNNING)
    assert f"GET {POD}" not in world.server.requests


async def test_a_crash_before_the_second_look_into_the_archive_starts_nothing(world: World) -> None:
    """An earlier job of the request ended just before the Secret was stored. Then the gateway ended."""
    key = names.request_key(ONCE.owner, "r")
    await world.archive.add(ArchivedJob(final_records.removed(ONCE, time_now.timestamp()), key, "hash"))
    again = job(2)
    await world.server.put(
        f"{SECRETS}/request-{key}", secret_item(again, "r", creationTimestamp=NEW["creationTimestamp"])
    )
    async with world.gateway() as engine:
        assert await engine.find(again.id) is None
    assert not world.jobs_left
    assert f"POST {PODS}" not in world.server.requests


@pytest.mark.parametrize(("seconds", "left"), [(0.5, 0), (5.0, 1)])
async def test_a_job_is_withdrawn_only_before_another_gateway_can_start_it(
    world: World, seconds: float, left: int
) -> None:
    for path in [each for each in world.server.objects if each.startswith(CLASSES)]:
        await world.server.remove(path)
    times = iter((100.0, 100.0 + seconds))
    async with world.gateway() as engine:
        submission = Submission(engine._attempts, lambda: next(times))
        with pytest.raises(ClusterRefused, match="PriorityClass"):
            await submission.submit(accepted(ONCE))
        assert len(world.jobs_left) == left


@pytest.mark.parametrize("finalizers", [[], [names.RECORD]])
async def test_an_attempt_that_has_changed_is_not_released(world: World, finalizers: list[str]) -> None:
    """A gateway removed the finalizer and ended. Then the agent reported a result."""
    item = pod_item(AGAIN, node="node-1", record=ran(AGAIN, RUNNING), deleted=True)
    item["metadata"] |= {"finalizers": finalizers, "deletionGracePeriodSeconds": 30}
    seen = pods.read(await world.server.put(POD, item))
    await world.change(AGAIN, record=ran(AGAIN, COMPLETED))
    kube = world.connect()
    attempts = Attempts(kube, "jobworker", world.archive, Priorities(kube), {}, "this")
    try:
        with pytest.raises(Conflict):
            await attempts.release(seen, unchanged=True)
    finally:
        await kube.close()
    assert POD in world.jobs_left


async def test_a_next_attempt_that_has_just_begun_is_not_a_removed_pod(world: World) -> None:
    """Another gateway releases the attempt after this one has read the Secret."""
    stale = job_secrets.read(secret_item(AGAIN))
    await world.accept(AGAIN, attempt=2)
    async with world.gateway() as engine:
        found = await engine._attempts.resume(stale)
        assert isinstance(found, JobPod)
        assert found.attempt == 2
    assert not world.archive.rows


async def test_the_secret_of_a_later_job_is_not_that_of_a_pod(world: World) -> None:
    """A client deleted the job, and used its request id again."""
    first, later = job(retry_on_lost=True), job(2)
    key = names.request_key(first.owner, "r")
    path = f"{SECRETS}/request-{key}"
    await world.server.put(path, secret_item(later, "r", creationTimestamp=NEW["creationTimestamp"]))
    former = pods.read(pod_item(first, secret=job_secrets.read(secret_item(first, "r"))))
    async with world.gateway() as engine:
        assert await engine._attempts.advance(former) is None
    assert names.ATTEMPT not in world.server.objects[path]["metadata"]["annotations"]


async def test_the_secret_of_an_archived_job_is_removed(world: World) -> None:
    """The gateway ended after it archived a job without a Pod."""
    await world.archive.add(ArchivedJob(final_records.removed(ONCE, time_now.timestamp())))
    await world.accept(ONCE, **NEW)
    async with world.gateway() as engine:
        assert await engine.find(ONCE.id) is None
    assert not world.jobs_left
    assert f"POST {PODS}" not in world.server.requests


async def test_a_deleted_job_does_not_come_back(world: World) -> None:
    """A gateway was interrupted after it had archived the job, and a client deleted the job meanwhile."""
    await world.accept(ONCE, **NEW)
    world.archive.deleted.add(ONCE.id)
    async with world.gateway():
        await until(lambda: SECRET not in world.server.objects)
    assert f"POST {PODS}" not in world.server.requests


async def test_a_job_that_was_deleted_while_its_pod_was_created_ends(world: World) -> None:
    await world.accept(ONCE, **NEW)

    async def delete_job() -> None:
        world.archive.deleted.add(ONCE.id)

    world.server.before_get[POD] = delete_job
    async with world.gateway():
        await until(lambda: SECRET not in world.server.objects)
    assert POD not in world.server.objects


async def test_a_pod_that_is_missing_for_long_was_removed(world: World) -> None:
    await world.accept(ONCE)
    async with world.gateway() as engine:
        assert await engine.find(ONCE.id) is None
    assert world.final(ONCE).status == LOST
    assert not world.jobs_left


@pytest.mark.parametrize("ahead", [-3_600, 3_600])
async def test_a_pod_is_not_missing_because_the_clock_of_the_gateway_is_wrong(
    world: World, ahead: float
) -> None:
    world.server.ahead = ahead
    created = datetime.fromtimestamp(time.time() + ahead, UTC).isoformat()
    await world.accept(ONCE, creationTimestamp=created)
    async with world.gateway():
        await until(lambda: POD in world.server.objects)


async def test_a_pod_is_missing_though_the_clock_of_the_gateway_is_wrong(world: World) -> None:
    world.server.ahead = 3_600
    created = datetime.fromtimestamp(time.time() + 3_500, UTC).isoformat()
    await world.accept(ONCE, creationTimestamp=created)
    async with world.gateway():
        await until(lambda: ONCE.id in world.archive.rows)
    assert world.final(ONCE).status == LOST


async def test_a_pod_that_the_gateway_has_not_listed_yet_is_not_missing(world: World) -> None:
    """A gateway that starts beside a slow apiserver has the Secrets long before the Pods."""
    await world.accept(ONCE)
    await world.server.put(POD, pod_item(ONCE, node="node-1", record=ran(ONCE, RUNNING)))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        del engine._state.pods[ONCE.id]
        await engine._finalizer.reconcile(ONCE.id)
        assert ONCE.id not in world.archive.rows
        assert POD in world.jobs_left


async def test_a_pod_that_disappears_without_a_result_was_removed(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        await world.server.remove(POD)
        await until(lambda: ONCE.id in world.archive.rows)
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE).termination.message.startswith("the Pod of the job was removed")


async def test_a_lost_job_starts_again(world: World) -> None:
    await world.start(AGAIN, node="node-1", record=ran(AGAIN, RUNNING), deleted=True)
    async with world.gateway() as engine:
        await until(lambda: world.server.objects.get(POD, {}).get("spec", {}).get("nodeName") is None)
        await until(lambda: POD in world.server.objects)
        await until(lambda: attempt(engine) == 2)
        assert world.server.objects[SECRET]["metadata"]["annotations"][names.ATTEMPT] == "2"
    assert not world.archive.rows


@pytest.mark.parametrize("retry_on_lost", [False, True])
async def test_the_answer_to_a_stop_is_final_although_the_node_is_lost(
    world: World, *, retry_on_lost: bool
) -> None:
    """The node ended before it could report the end of the job to the cluster."""
    found = job(retry_on_lost=retry_on_lost, attempt=1)
    await world.start(found, node="node-1", record=ran(found, RUNNING), phase="Running")
    stopped = ran(found, STOPPED, "STOPPED")
    async with world.gateway(lost_after=1_000.0) as engine:
        await status(engine, found, RUNNING)
        live = engine.jobs.get(found.id)
        assert live
        world.server.always = 0 if retry_on_lost else 503
        assert await engine.end(live, stopped, "CN=ada") == stopped
        assert world.final(found) == stopped
    world.server.always = 0
    if not retry_on_lost:
        await world.start(found, node="node-1", record=ran(found, RUNNING), deleted=True)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(found) == stopped


@pytest.mark.usefixtures("patient")
async def test_all_gateways_see_at_once_that_a_job_was_stopped_at_its_node(world: World) -> None:
    """The gateway that created the Pod has not seen the end of the job."""
    found = job(attempt=1)
    async with world.gateway(lost_after=1_000.0) as one, world.gateway(lost_after=1_000.0) as two:
        await one.submit(accepted(found))
        await world.change(found, record=ran(found, RUNNING), phase="Running")
        await status(one, found, RUNNING)
        await status(two, found, RUNNING)
        live = two.jobs.get(found.id)
        assert live
        assert await two.end(live, ran(found, STOPPED, "STOPPED"), "CN=ada")
        await until(lambda: not world.jobs_left)
        await until(lambda: not one.jobs.get(found.id) and not two.jobs.get(found.id))


async def test_a_stop_of_a_job_that_can_start_again_needs_the_cluster(world: World) -> None:
    again = job(retry_on_lost=True, attempt=1)
    await world.start(again, node="node-1", record=ran(again, RUNNING), phase="Running")
    async with world.gateway() as engine:
        await status(engine, again, RUNNING)
        live = engine.jobs.get(again.id)
        assert live
        world.server.always = 503
        with pytest.raises(ClusterUnavailable):
            await engine.end(live, ran(again, STOPPED, "STOPPED"), "CN=ada")
    assert not world.archive.rows


@pytest.mark.parametrize("has_seen", [False, True])
async def test_the_end_of_an_earlier_attempt_is_not_that_of_the_job(world: World, *, has_seen: bool) -> None:
    again = job(retry_on_lost=True, attempt=1)
    await world.start(again, node="node-1", record=ran(again, RUNNING), phase="Running")
    async with world.gateway() as engine:
        await status(engine, again, RUNNING)
        live, seen = engine.jobs.get(again.id), engine._state.pods[again.id]
        assert live
        await world.server.put(POD, pod_item(again, uid="uid-2", attempt=2))
        await until(lambda: attempt(engine) == 2)
        if not has_seen:
            engine._state.pods[again.id] = seen
        assert await engine.end(live, ran(again, STOPPED, "STOPPED"), "CN=ada") is None
    assert not world.archive.rows
    assert names.STOPPED_BY not in world.server.objects[POD]["metadata"]["annotations"]


async def test_a_lost_job_without_its_secret_cannot_start_again(world: World) -> None:
    await world.server.put(POD, pod_item(AGAIN, node="node-1", record=ran(AGAIN, RUNNING), deleted=True))
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(AGAIN).status == LOST


async def test_a_crash_between_two_attempts_starts_the_next_one(world: World) -> None:
    """The gateway noted the next attempt and released the former one, long ago."""
    await world.accept(AGAIN, attempt=3)
    async with world.gateway() as engine:
        found = await engine.find(AGAIN.id)
        assert found
        assert found.job.attempt == 3


async def test_two_gateways_start_the_next_attempt_once(world: World) -> None:
    async with world.gateway() as one, world.gateway() as two:
        await one.submit(accepted(AGAIN))
        await until(lambda: two.jobs.get(AGAIN.id))
        await world.change(AGAIN, record=ran(AGAIN, STOPPED, "EVICTED"), phase="Failed")
        await until(lambda: attempt(one) == attempt(two) == 2)
    creations = world.server.history
    attempts = [
        change["object"]["metadata"]["annotations"][names.ATTEMPT]
        for _, kind, change in creations
        if kind == "ADDED" and change["path"] == POD
    ]
    assert attempts == ["1", "2"]


async def test_a_record_that_arrives_while_the_loss_is_decided_wins(world: World) -> None:
    """The watch of the gateway has not seen the record yet."""
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING), deleted=True)
    world.server.before_get[f"{LEASES}/node-1"] = lambda: world.change(
        ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded"
    )
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE).status == COMPLETED


async def test_a_record_that_arrives_after_the_loss_changes_nothing(world: World) -> None:
    lost = final_records.removed(ONCE, time_now.timestamp())
    await world.archive.add(ArchivedJob(lost))
    await world.start(ONCE, node="node-1", record=ran(ONCE, COMPLETED), phase="Succeeded")
    async with world.gateway() as engine:
        await until(lambda: not world.jobs_left)
        assert await engine.find(ONCE.id) is None
    assert world.final(ONCE) == lost


async def test_a_renewed_lease_keeps_a_job_that_ends(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING), deleted=True)
    await world.server.put(f"{LEASES}/node-1", {"metadata": {"name": "node-1", "uid": "l"}})

    async def renew() -> None:
        await world.server.put(f"{LEASES}/node-1", {"metadata": {"name": "node-1", "uid": "l"}})

    world.server.before_get[f"{LEASES}/node-1"] = renew
    async with world.gateway(lost_after=0.05) as engine:
        await until(lambda: world.server.requests.count(f"GET {LEASES}/node-1") >= 3)
        assert not world.archive.rows
        await status(engine, ONCE, RUNNING)


async def test_the_pod_of_a_slow_gateway_is_removed(world: World) -> None:
    """A gateway created the Pod after another one had given the job up."""
    lost = final_records.removed(ONCE, time_now.timestamp())
    await world.archive.add(ArchivedJob(lost))
    await world.server.put(POD, pod_item(ONCE))
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE) == lost


async def test_a_stop_in_the_queue_ends_the_job(world: World) -> None:
    async with world.gateway() as engine:
        await engine.submit(accepted(AGAIN))
        assert await engine.cancel(AGAIN.id, "CN=bob")
        final = await status(engine, AGAIN, STOPPED)
        await until(lambda: not world.jobs_left)
        with pytest.raises(JobNotFound):
            await engine.cancel(AGAIN.id, "CN=bob")
    assert final.termination.stopped_by == "CN=bob"


async def test_the_shortest_grace_period_of_the_clients_is_in_the_pod(world: World) -> None:
    """The node has started the job, and has not reported that yet."""
    await world.start(ONCE, node="node-1")
    async with world.gateway(lost_after=1_000.0) as engine:
        for subject, grace in (("CN=bob", None), ("CN=eve", 0.0), ("CN=ada", 60.0)):
            assert await engine.cancel(ONCE.id, subject, grace)
    stopped = pods.read(world.server.objects[POD])
    assert (stopped.stopped_by, stopped.stop_grace_period) == ("CN=bob", 0)


async def test_a_stop_that_was_interrupted_is_completed(world: World) -> None:
    await world.start(ONCE, stopped_by="CN=bob")
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE).termination.stopped_by == "CN=bob"


async def test_a_stop_of_a_running_job_is_for_its_node(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        assert not await engine.cancel(ONCE.id, "CN=bob")
    assert "deletionTimestamp" not in world.server.objects[POD]["metadata"]


async def test_a_job_that_waits_for_too_long_ends(world: World) -> None:
    late = job()
    late.queue_timeout.FromMilliseconds(1)
    async with world.gateway() as engine:
        await engine.submit(accepted(late))
        final = await status(engine, late, job_pb2.JOB_STATUS_FAILED)
        await until(lambda: not world.jobs_left)
    assert final.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT


@pytest.mark.parametrize(("ahead", "waited", "is_over"), [(-3_600, 10, False), (3_600, 700, True)])
async def test_the_time_in_the_queue_is_that_of_the_apiserver(
    world: World, ahead: float, waited: int, *, is_over: bool
) -> None:
    """The clock of this gateway is wrong by an hour."""
    world.server.ahead = ahead
    waiting = job()
    waiting.create_time.FromNanoseconds(time.time_ns() + int(ahead - waited) * 10**9)
    waiting.queue_timeout.FromSeconds(600)
    async with world.gateway() as engine:
        await engine.submit(accepted(waiting))
        assert engine._timeouts.due() == [waiting.id] * is_over


async def test_an_update_shows_in_the_table(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await engine.update(job_pb2.Job(id=ONCE.id, attempt=1, max_cpu=50))
        await until(lambda: (live := engine.jobs.get(ONCE.id)) and live.job.max_cpu == 50)
        with pytest.raises(JobNotFound):
            await engine.update(job_pb2.Job(id="none"))


async def test_an_update_of_an_earlier_attempt_does_not_show_in_the_next_one(world: World) -> None:
    """The node of the earlier attempt has answered late."""
    await world.start(AGAIN, node="node-1", attempt=2)
    async with world.gateway() as engine:
        with pytest.raises(JobNotFound):
            await engine.update(job_pb2.Job(id=AGAIN.id, attempt=1, max_cpu=50))
    assert pods.read(world.server.objects[POD]).initial.max_cpu == AGAIN.max_cpu


async def test_a_request_id_is_accepted_once(world: World) -> None:
    first, second, third = job(1), job(2), job(3)
    async with world.gateway() as one, world.gateway() as two:
        created = await asyncio.gather(
            one.submit(accepted(first, "r")),
            two.submit(accepted(second, "r")),
            two.submit(accepted(third, "r")),
        )
        assert len({each.id for each in created}) == 1
        winner = created[0]
        with pytest.raises(RequestIdReused):
            await two.submit(accepted(job(4), "r", "other"))
        await world.change(winner, record=ran(winner, COMPLETED), phase="Succeeded")
        await until(lambda: not world.jobs_left)
        assert (await two.submit(accepted(job(5), "r"))).id == winner.id
        with pytest.raises(RequestIdReused):
            await two.submit(accepted(job(6), "r", "other"))
    assert not world.jobs_left


@pytest.mark.parametrize("asks", [False, True])
async def test_the_request_id_of_a_deleted_job_is_free_at_once(world: World, *, asks: bool) -> None:
    """Another gateway archived the job, and has not removed its Secret and its Pod yet."""
    first, later = job(1), job(2)
    path, pod = f"{SECRETS}/request-{names.request_key(first.owner, 'r')}", f"{PODS}/job-{first.id}"
    secret = secret_item(first, "r", creationTimestamp=NEW["creationTimestamp"])
    seen = job_secrets.read(await world.server.put(path, secret))
    ended = pod_item(first, node="node-1", record=ran(first, COMPLETED), gateway="other", secret=seen)
    await world.server.put(pod, ended)
    world.archive.deleted.add(first.id)
    async with world.gateway() as engine:
        assert not (asks and await engine.knows(first.owner, "r"))
        assert (await engine.submit(accepted(later, "r", "other"))).id == later.id
        await until(lambda: pod not in world.server.objects)
    # The end of the former job leaves the Secret of the later one alone.
    assert job_secrets.read(world.server.objects[path]).job.id == later.id


async def test_a_queue_has_its_nodes_and_its_name(world: World) -> None:
    async with world.gateway() as engine:
        await engine.submit(accepted(job(queue="gpu", priority=60)))
        with pytest.raises(InvalidRequest, match="'none' does not exist; use one of default, gpu"):
            await engine.submit(accepted(job(2, queue="none")))
        with pytest.raises(InvalidRequest, match="node_selector"):
            await engine.submit(accepted(job(2, queue="gpu", node_selector={"gpu": "false"})))
    spec = world.server.objects[POD]["spec"]
    assert (spec["nodeSelector"]["gpu"], spec["priorityClassName"]) == ("true", "jobworker-high")


async def test_a_control_plane_that_does_not_answer_is_an_error(world: World) -> None:
    async with world.gateway() as engine:
        world.server.always = 503
        with pytest.raises(ClusterUnavailable, match="a fault"):
            await engine.submit(accepted(ONCE))
        with pytest.raises(ClusterUnavailable):
            await engine.find(ONCE.id)
        world.server.cut()
        await until(lambda: engine.problem)
        world.server.always = 0
        await until(lambda: not engine.problem)


async def test_no_node_is_lost_because_the_control_plane_was_away(world: World) -> None:
    """A job that ends has a node that is alive, but that could not renew its Lease either."""
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING), deleted=True)
    await world.server.put(f"{LEASES}/node-1", {"metadata": {"name": "node-1", "uid": "l"}})
    async with world.gateway(lost_after=1_000.0) as engine:
        await status(engine, ONCE, RUNNING)
        seen = engine._nodes._leases["node-1"]
        engine._nodes._leases["node-1"] = replace(seen, since=seen.since - 2_000.0)
        world.server.always = 503
        world.server.cut()
        await until(lambda: engine._leases_seen.problem)
        world.server.always = 0
        await until(lambda: not engine.problem)
        assert not engine._nodes.suspects("node-1")


async def test_the_log_tells_once_that_the_cluster_is_away_and_back(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        async with world.gateway() as engine:
            world.server.always = 503
            world.server.cut()
            await until(lambda: any(line["event"] == "cluster not reachable" for line in lines))
            world.server.always = 0
            await until(lambda: any(line["event"] == "cluster reachable again" for line in lines))
            assert not engine.problem
    assert [line["event"] for line in lines] == ["cluster not reachable", "cluster reachable again"]


async def test_the_log_tells_that_the_cluster_is_away_when_the_gateway_starts(world: World) -> None:
    world.server.always = 503
    engine = KubernetesEngine(KubernetesSettings(), world.archive, world.connect())
    with structlog.testing.capture_logs() as lines:
        async with running(engine):
            await until(lambda: lines)
            world.server.always = 0
            await until(lambda: not engine.problem and len(lines) > 1)
    assert [line["event"] for line in lines] == ["cluster not reachable", "cluster reachable again"]


@pytest.mark.parametrize("raises_versions", [False, True])
async def test_the_jobs_of_a_store_that_was_restored_are_those_of_the_backup(
    world: World, *, raises_versions: bool
) -> None:
    """`etcdutl snapshot restore --bump-revision` raises the versions after it, so that no watch continues."""
    later = job(2)
    await world.start(ONCE)
    backup, version = json.dumps(world.server.objects), world.server.version
    async with world.gateway(lost_after=1_000.0) as engine:
        await world.start(later)
        await world.change(ONCE, record=ran(ONCE, RUNNING), phase="Running")
        await status(engine, ONCE, RUNNING)
        await until(lambda: engine.jobs.get(later.id))
        world.server.objects = json.loads(backup)
        if raises_versions:
            world.server.version += 1_000
            world.server.forget()
            world.server.cut()
        else:
            engine._state.list_pods([world.server.objects[POD]], version)
        await status(engine, ONCE, QUEUED)
        await until(lambda: not engine.jobs.get(later.id))


async def test_a_job_of_a_backup_that_has_ended_since_then_does_not_start_again(world: World) -> None:
    async with world.gateway() as engine:
        await engine.submit(accepted(ONCE))
        backup = json.dumps(world.server.objects)
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: not world.jobs_left and not engine.jobs.get(ONCE.id))
        ended = world.final(ONCE)
        world.server.objects = json.loads(backup)
        world.server.version += 1_000
        world.server.forget()
        world.server.cut()
        assert world.jobs_left
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE) == ended


async def test_a_gateway_that_starts_sees_all_jobs(world: World) -> None:
    jobs = [job(number) for number in range(1, 40)]
    for each in jobs:
        await world.start(each)
    async with world.gateway() as engine:
        await until(lambda: len(engine.jobs) == len(jobs))
        assert [live.job.id for live in engine.jobs.newest()] == [each.id for each in reversed(jobs)]
        assert engine.jobs.queue_position(jobs[4].id) == 5


async def test_pods_of_others_are_ignored(world: World) -> None:
    other = pod_item(ONCE)
    del other["metadata"]["annotations"]
    await world.server.put(POD, other)
    async with world.gateway() as engine:
        await world.server.put(f"{PODS}/{job(2).id}", pod_item(job(2)))
        await until(lambda: engine.jobs.get(job(2).id))
        assert not engine.jobs.get(ONCE.id)
