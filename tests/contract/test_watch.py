"""Watch jobs: snapshot, changes, filters, resumption, and what happens when parts of the server die."""

import asyncio
from uuid import uuid4

import grpc
import pytest
from restarts import Restart, kill_supervisor, lasting_client, persist, reload

from jobworker.v1 import job_pb2, job_service_pb2, job_watch_pb2
from live import Server
from live_client import Client, refused
from watcher import watching

UNKNOWN_ID = "019a0000-0000-7000-8000-000000000000"


def new_label() -> dict[str, str]:
    return {"watch": str(uuid4())}


async def test_a_watcher_gets_the_snapshot_and_each_change(admin: Client, viewer: Client) -> None:
    labels = new_label()
    old, _ = await admin.run("true", labels=labels)
    async with watching(viewer, labels=labels) as watcher, asyncio.timeout(60):
        await watcher.synced()
        assert list(watcher.jobs) == [old.id]
        assert [each.WhichOneof("kind") for each in watcher.messages] == ["changed", "bookmark"]
        job = await admin.create("sleep", "1000", labels=labels)
        while job.id not in watcher.jobs or watcher.jobs[job.id].status != job_pb2.JOB_STATUS_RUNNING:
            await watcher.next()
        await admin.update(job.id, max_cpu=50)
        while watcher.jobs[job.id].max_cpu != 50:
            await watcher.next()
        stopped = await admin.stop(job.id, seconds=0)
        assert await watcher.final(job.id) == stopped
        await admin.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=job.id))
        assert await watcher.removed(job.id) == job_watch_pb2.REMOVAL_REASON_DELETED
        assert list(watcher.jobs) == [old.id]
        revisions = [each.changed.revision or each.removed.revision for each in watcher.messages[2:]]
        assert revisions == sorted(set(revisions))


async def test_a_job_leaves_a_watch_of_running_jobs_at_its_end(admin: Client) -> None:
    labels = new_label()
    async with watching(admin, labels=labels, statuses=[job_pb2.JOB_STATUS_RUNNING]) as watcher:
        await watcher.synced()
        job = await admin.create("true", labels=labels)
        assert await watcher.removed(job.id) == job_watch_pb2.REMOVAL_REASON_NO_LONGER_MATCHES
        assert {each.changed.job.status for each in watcher.messages if each.HasField("changed")} <= {
            job_pb2.JOB_STATUS_RUNNING
        }


async def test_a_cursor_continues_with_the_final_status_also_of_a_deleted_job(admin: Client) -> None:
    labels = new_label()
    first = await admin.create("sleep", "1000", labels=labels)
    async with watching(admin, labels=labels) as watcher:
        await watcher.synced()
    stopped = await admin.stop(first.id, seconds=0)
    await admin.stub.DeleteJob(job_service_pb2.DeleteJobRequest(id=first.id))
    second, _ = await admin.run("true", labels=labels)
    async with watching(admin, labels=labels, cursor=watcher.cursor) as resumed:
        await resumed.synced()
    kinds = [each.WhichOneof("kind") for each in resumed.messages]
    assert kinds == ["changed", "removed", "changed", "bookmark"]
    assert resumed.messages[0].changed.job == stopped
    assert resumed.jobs == {second.id: second}


@pytest.mark.parametrize("cursor", ["nonsense", "AAAA", "é"])
async def test_an_unusable_cursor_starts_a_new_snapshot(admin: Client, cursor: str) -> None:
    labels = new_label()
    job, _ = await admin.run("true", labels=labels)
    async with watching(admin, labels=labels, cursor=cursor) as watcher:
        await watcher.synced()
    assert [each.WhichOneof("kind") for each in watcher.messages] == ["reset", "changed", "bookmark"]
    assert watcher.messages[0].reset.reason
    assert watcher.jobs == {job.id: job}


async def test_a_watch_of_ids_reports_those_that_do_not_exist(admin: Client) -> None:
    job, _ = await admin.run("true")
    async with watching(admin, ids=[job.id, UNKNOWN_ID]) as watcher:
        assert await watcher.removed(UNKNOWN_ID) == job_watch_pb2.REMOVAL_REASON_NOT_FOUND
        await watcher.synced()
    assert watcher.jobs == {job.id: job}


async def test_a_snapshot_with_a_bound_on_final_jobs_has_all_others(admin: Client) -> None:
    labels = new_label()
    running = await admin.create("sleep", "1000", labels=labels)
    ended = [(await admin.run("true", labels=labels))[0].id for _ in range(3)]
    for count in (0, 2):
        async with watching(admin, labels=labels, max_final_jobs=count) as watcher:
            await watcher.synced()
        assert list(watcher.jobs) == [*reversed(ended[len(ended) - count :]), running.id]
    await admin.stop(running.id, seconds=0)


async def test_requests_that_are_not_accepted(admin: Client) -> None:
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal, watching(admin, ids=["x"]) as watcher:
        await watcher.next()
    assert refusal.fields == ["ids"]


async def test_a_failed_start_leaves_the_picture(admin: Client) -> None:
    labels = new_label()
    async with watching(admin, labels=labels) as watcher:
        await watcher.synced()
        with pytest.raises(grpc.aio.AioRpcError):
            await admin.create("/nonexistent", labels=labels)
        job, _ = await admin.run("true", labels=labels)
        await watcher.final(job.id)
        assert list(watcher.jobs) == [job.id]


@pytest.mark.parametrize("restart", [kill_supervisor, reload])
async def test_a_watch_continues_after_a_restart(own_server: Server, restart: Restart) -> None:
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
        await admin.wrote(job.id, b"ready\n")
        async with watching(admin) as watcher:
            await watcher.synced()
            await restart(own_server)
            async with refused(grpc.StatusCode.UNAVAILABLE):
                await watcher.final(job.id)
        stopped = await persist(lambda: admin.stop(job.id))
        async with watching(admin, cursor=watcher.cursor) as resumed:
            await resumed.synced()
        assert resumed.messages[0].WhichOneof("kind") == "reset"
        assert resumed.jobs == {job.id: stopped}
