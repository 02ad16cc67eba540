"""Secrets and Pods that cannot be read, because they were changed by hand: each job has one final record."""

import base64
import copy
from collections.abc import AsyncIterator, Callable

import pytest
import structlog

from engine_world import NEW, PODS, SECRETS, World, accepted, open_world, status, until
from job_pods import job, ran, secret_item
from jobworker.v1 import job_pb2
from jobworker_cluster import names
from jobworker_cluster.kube import Json
from jobworkerd import job_id
from jobworkerd.errors import ClusterRefused

RUNNING, COMPLETED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_COMPLETED
STOPPED, LOST = job_pb2.JOB_STATUS_STOPPED, job_pb2.JOB_STATUS_LOST
ONCE, AGAIN = job(), job(retry_on_lost=True)
POD, SECRET = f"{PODS}/job-{ONCE.id}", f"{SECRETS}/job-{ONCE.id}"
REQUEST = f"{SECRETS}/request-{names.request_key(ONCE.owner, 'r')}"

Change = Callable[[Json], None]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as opened:
        yield opened


async def edit(world: World, path: str, change: Change) -> None:
    item = copy.deepcopy(world.server.objects[path])
    change(item)
    await world.server.put(path, item)


def no_data(item: Json) -> None:
    del item["data"]


def no_request(item: Json) -> None:
    del item["data"][names.SPEC_KEY]


def no_job(item: Json) -> None:
    item["data"][names.JOB_KEY] = base64.b64encode(b"?").decode()


def empty_job(item: Json) -> None:
    item["data"][names.JOB_KEY] = ""


def job_of_another(item: Json) -> None:
    item["data"][names.JOB_KEY] = base64.b64encode(job(2).SerializeToString()).decode()


def no_attempt(item: Json) -> None:
    item["metadata"]["annotations"][names.ATTEMPT] = "one"


def no_label(item: Json) -> None:
    del item["metadata"]["labels"][names.JOB_ID]


def no_record(item: Json) -> None:
    item["metadata"]["annotations"][names.JOB] = "?"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (no_data, "job is missing"),
        (no_request, "spec is missing"),
        (no_job, "job is not a Job"),
        (empty_job, "job is not the record of this job"),
        (job_of_another, "job is not the record of this job"),
        (no_attempt, "is 'one', not a number"),
    ],
)
async def test_a_job_without_a_pod_is_lost_if_its_secret_cannot_be_read(
    world: World, change: Change, why: str
) -> None:
    await world.accept(ONCE, **NEW)
    await edit(world, SECRET, change)
    with structlog.testing.capture_logs() as lines:
        async with world.gateway() as engine:
            await until(lambda: ONCE.id in world.archive.rows)
            await until(lambda: not world.jobs_left)
            assert await engine.find(ONCE.id) is None
    final = world.final(ONCE)
    assert (final.status, final.termination.reason) == (LOST, job_pb2.TERMINATION_REASON_LOST)
    assert f"(Secret job-{ONCE.id}: " in final.termination.message
    assert why in final.termination.message
    assert final.create_time.ToNanoseconds() in {
        ONCE.create_time.ToNanoseconds(),
        job_id.time_of(ONCE.id),
    }
    assert [(line["event"], line["job_id"]) for line in lines] == [("job damaged", ONCE.id)]


async def test_a_client_that_asks_gets_the_record_at_once(world: World) -> None:
    await world.accept(ONCE, **NEW)
    await edit(world, SECRET, no_request)
    async with world.gateway() as engine:
        assert await engine.find(ONCE.id) is None
        final = world.final(ONCE)
    assert (final.status, final.owner, final.command) == (LOST, ONCE.owner, ONCE.command)


async def test_a_retry_of_the_request_gets_the_record(world: World) -> None:
    await world.server.put(REQUEST, secret_item(ONCE, "r", creationTimestamp=NEW["creationTimestamp"]))
    await edit(world, REQUEST, no_data)
    async with world.gateway() as engine:
        found = await engine.submit(accepted(job(2), "r", "hash"))
        assert await engine.knows(ONCE.owner, "r")
    assert (found.id, found.status) == (ONCE.id, LOST)
    assert not world.jobs_left


async def test_a_retry_of_the_request_is_refused_if_nothing_tells_the_job(world: World) -> None:
    await world.server.put(REQUEST, secret_item(ONCE, "r", creationTimestamp=NEW["creationTimestamp"]))
    await edit(world, REQUEST, no_data)
    await edit(world, REQUEST, no_label)
    with structlog.testing.capture_logs() as lines:
        async with world.gateway() as engine:
            with pytest.raises(ClusterRefused, match="an administrator has to repair it"):
                await engine.submit(accepted(job(2), "r", "hash"))
    assert world.jobs_left == [REQUEST]
    assert lines[0] == {"event": "secret ignored", "log_level": "warning", "name": REQUEST.rsplit("/", 1)[1]}


async def test_a_job_whose_pod_was_removed_while_no_gateway_ran_does_not_run_again(world: World) -> None:
    """The job is so young that a gateway can have been killed before it created the Pod."""
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    await world.server.remove(POD)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE).termination.message.startswith("the Pod of the job was removed")
    assert f"POST {PODS}" not in world.server.requests


async def test_a_job_starts_if_the_apiserver_has_forgotten_the_changes_since(world: World) -> None:
    await world.accept(ONCE, **NEW)
    await world.server.bookmark()
    world.server.forget()
    async with world.gateway():
        await until(lambda: POD in world.server.objects)


async def test_the_record_has_what_the_gateway_has_seen(world: World) -> None:
    """The Secret was changed while the job ran, and then the Pod was removed."""
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        await edit(world, SECRET, no_data)
        await world.server.remove(POD)
        await until(lambda: not world.jobs_left)
    final = world.final(ONCE)
    assert (final.status, final.command, final.node, final.attempt) == (LOST, "true", "node-1", 1)
    assert final.HasField("start_time")


async def test_a_lost_job_cannot_start_again_if_its_secret_cannot_be_read(world: World) -> None:
    evicted = ran(AGAIN, STOPPED, "EVICTED")
    await world.start(AGAIN, node="node-1", record=evicted, phase="Failed")
    await edit(world, SECRET, no_request)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(AGAIN).termination.reason == job_pb2.TERMINATION_REASON_EVICTED


@pytest.mark.parametrize("damage", [no_record, no_attempt])
async def test_a_running_job_is_lost_if_its_pod_cannot_be_read(world: World, damage: Change) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        await edit(world, POD, damage)
        await until(lambda: not world.jobs_left)
        assert await engine.find(ONCE.id) is None
    final = world.final(ONCE)
    assert (final.status, final.node) == (LOST, "node-1")
    assert f"(Pod job-{ONCE.id}: " in final.termination.message


async def test_a_gateway_that_starts_finds_a_pod_that_cannot_be_read(world: World) -> None:
    await world.start(AGAIN, node="node-1", record=ran(AGAIN, RUNNING), attempt=2)
    await edit(world, POD, no_record)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(AGAIN).status == LOST


async def test_the_result_in_a_pod_that_cannot_be_read_is_true(world: World) -> None:
    await world.start(ONCE, node="node-1", record=ran(ONCE, COMPLETED), phase="Succeeded")
    await edit(world, POD, no_record)
    async with world.gateway():
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE) == ran(ONCE, COMPLETED)


async def test_the_result_is_true_although_the_pod_was_removed(world: World) -> None:
    """The archive did not answer while the Pod existed."""
    await world.start(ONCE, node="node-1", record=ran(ONCE, RUNNING))
    async with world.gateway() as engine:
        await status(engine, ONCE, RUNNING)
        world.archive.available = False
        await world.change(ONCE, record=ran(ONCE, COMPLETED), phase="Succeeded")
        await until(lambda: world.archive.refused)
        await world.server.remove(POD)
        await until(lambda: ONCE.id in engine._state.vanished)
        world.archive.available = True
        await until(lambda: not world.jobs_left)
    assert world.final(ONCE).status == COMPLETED
