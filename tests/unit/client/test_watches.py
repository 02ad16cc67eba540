"""Watches of both clients, against a scripted server."""

import asyncio

from jobworker.v1 import job_pb2
from jobworker_client import (
    Client,
    ClientConfig,
    JobChanged,
    JobWatch,
    Reconnecting,
    SyncClient,
    SyncJobWatch,
    WatchSynced,
)
from scripted import JOB_ID, FakeServer
from scripted_messages import RESTARTING
from scripted_watch import play_watch
from watch_messages import bookmark, changed

RUNNING = job_pb2.Job(id=JOB_ID, status=job_pb2.JOB_STATUS_RUNNING)
ENDED = job_pb2.Job(id=JOB_ID, status=job_pb2.JOB_STATUS_COMPLETED)
EXPECTED = [JobChanged(RUNNING), WatchSynced(), JobChanged(ENDED)]


def script(server: FakeServer) -> None:
    """Break the watch after the snapshot."""
    play_watch(server, [changed(RUNNING), bookmark("x"), RESTARTING], [changed(ENDED, 4)])


async def test_the_asyncio_client_resumes_after_the_bookmark(
    server: FakeServer, config: ClientConfig
) -> None:
    script(server)
    reconnects: list[object] = []
    async with (
        Client(config) as client,
        client.watch(ids=[JOB_ID], max_final_jobs=5, on_event=reconnects.append) as watch,
    ):
        assert isinstance(watch, JobWatch)
        assert [await anext(watch) for _ in EXPECTED] == EXPECTED
        assert dict(watch.jobs) == {JOB_ID: ENDED}
    assert [(each.cursor, list(each.ids), each.max_final_jobs) for each in server.watched] == [
        ("", [JOB_ID], 5),
        ("x", [JOB_ID], 5),
    ]
    assert [type(each) for each in reconnects] == [Reconnecting]


async def test_the_client_for_threads_resumes_after_the_bookmark(
    server: FakeServer, config: ClientConfig
) -> None:
    script(server)

    def read() -> None:
        with SyncClient(config) as client, client.watch(labels={"a": "b"}) as watch:
            assert isinstance(watch, SyncJobWatch)
            assert [next(watch) for _ in EXPECTED] == EXPECTED
            assert dict(watch.jobs) == {JOB_ID: ENDED}

    await asyncio.to_thread(read)
    assert [(each.cursor, dict(each.labels)) for each in server.watched] == [
        ("", {"a": "b"}),
        ("x", {"a": "b"}),
    ]
