"""Check a server whose disk is full, damaged, too new or without quotas."""

import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from conftest import BIN

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from live_client import client, refused
from small_disk import fill, small_disk


@pytest.mark.root
async def test_a_full_disk_refuses_new_jobs_and_recovers_without_a_restart(
    certs: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "state/state"
    with small_disk(disk, "12m"), Server.started(BIN, certs, tmp_path / "state") as server:
        async with client(server, "admin") as admin:
            done, _ = await admin.run("echo", "done")
            script = "trap 'echo last; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
            running = await admin.create("sh", "-c", script)
            await admin.wrote(running.id, b"ready")
            filler = fill(disk)
            for _ in range(3):  # the first one has a log that was prepared
                await _create(admin.stub)
            async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
                await admin.create("touch", "/tmp/never")
            assert refusal.reason == "HOST_EXHAUSTED"
            assert (await admin.get(done.id)).status == job_pb2.JOB_STATUS_COMPLETED
            stopped = await admin.stop(running.id)
            assert (stopped.status, stopped.exit_code) == (job_pb2.JOB_STATUS_STOPPED, 5)
            assert await admin.get(running.id) == stopped
            filler.unlink()
            after, output = await admin.run("echo", "again")
            assert output == b"again\n"
        assert server.stop() == 0
        server.launch()
        async with client(server, "admin") as admin:
            for job in (done, stopped, after):
                assert await admin.get(job.id) == job


async def _create(stub: object) -> None:
    try:
        await stub.CreateJob(job_service_pb2.CreateJobRequest(command="true", max_memory=64))  # type: ignore[attr-defined]
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - success is valid, too


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("newer", "jobworker.db has version 99, but this server reads versions up to"),
        ("garbage", "jobworker.db is damaged (file is not a database); restore it and the files"),
    ],
)
def test_a_server_does_not_start_with_a_database_that_it_cannot_read(
    own_server: Server, damage: str, message: str
) -> None:
    assert own_server.state
    assert own_server.stop() == 0
    file = own_server.state / "state/jobworker.db"
    if damage == "newer":
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        file.write_bytes(b"garbage" * 10_000)
    before = file.read_bytes()
    with pytest.raises(AssertionError, match="the server ended"):
        own_server.launch()
    assert own_server.process
    assert own_server.process.wait() == 1
    (error,) = (event for event in own_server.events() if event["event"] == "cannot start")
    assert message in error["reason"]
    assert file.read_bytes() == before


def test_records_that_cannot_be_read_prevent_a_start_with_one_line(own_server: Server) -> None:
    assert own_server.state
    assert own_server.stop() == 0
    file = own_server.state / "state/jobworker.db"
    with closing(sqlite3.connect(file)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_status'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * size : page * size] = b"\xff" * size
    file.write_bytes(content)
    with pytest.raises(AssertionError, match="the server ended"):
        own_server.launch()
    (error,) = (event for event in own_server.events() if event["level"] == "error")
    assert error["event"] == "cannot start"
    assert error["reason"].startswith("the records cannot be read (")
    assert "traceback" not in error
    assert own_server.log
    assert "Traceback" not in own_server.log.read_text()


@pytest.mark.root
def test_a_scratch_directory_requires_quotas(certs: Path, tmp_path: Path) -> None:
    settings = {"JOBWORKERD_SCRATCH_DIRECTORY": str(tmp_path)}
    with (
        pytest.raises(AssertionError, match=r"has no project quotas .*; mount ext4"),
        Server.started(BIN, certs, tmp_path / "state", **settings),
    ):
        pass
