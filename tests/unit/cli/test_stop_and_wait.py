"""Tests of `jobworker stop` and `jobworker wait`: several jobs, one exit code."""

import asyncio
import json
import signal
from datetime import timedelta

import grpc
import pytest

from jobworker.v1 import job_pb2
from scripted import WaitRequest, WaitResponse
from tests.unit.cli.conftest import (
    JOB_ID,
    Cli,
    FakeServer,
    Refusal,
    finished,
    until,
)

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def test_stop_prints_the_final_status(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    result = await cli("stop", JOB_ID)
    assert result.code == 0
    assert result.text == f"{JOB_ID}  STOPPED  stopped by CN=admin\n"
    assert not server.stopped[0].HasField("grace_period")


@pytest.mark.parametrize(
    ("args", "grace"),
    [(["--now"], timedelta()), (["--grace-period", "1m30s"], timedelta(seconds=90))],
)
async def test_grace_period_is_sent(cli: Cli, server: FakeServer, args: list[str], grace: timedelta) -> None:
    server.add()
    await cli("stop", *args, JOB_ID)
    assert server.stopped[0].HasField("grace_period")
    assert server.stopped[0].grace_period.ToTimedelta() == grace


async def test_now_and_grace_period_exclude_each_other(cli: Cli, server: FakeServer) -> None:
    result = await cli("stop", "--now", "--grace-period=1s", JOB_ID)
    assert result.code == 2
    assert not server.stopped


async def test_wrong_id_does_not_affect_other_jobs(cli: Cli, server: FakeServer) -> None:
    server.add()
    result = await cli("stop", OTHER_ID, JOB_ID)
    assert result.code == 1
    assert result.text.startswith(f"{JOB_ID}  STOPPED")
    assert "JOB_NOT_FOUND" in result.stderr


async def test_stop_ignores_the_call_timeout(cli: Cli, server: FakeServer) -> None:
    job, stop = server.add(), asyncio.Event()

    async def stopping(_: object) -> job_pb2.Job:
        await stop.wait()
        return job

    server.stopping = stopping
    process = await cli.start("--timeout", "1ms", "stop", JOB_ID)
    await until(lambda: bool(server.stopped))
    stop.set()
    assert (await finished(process)).code == 0


async def test_wait_reads_no_output_and_exits_with_the_code_of_the_job(cli: Cli, server: FakeServer) -> None:
    server.add(exit_code=9, status=job_pb2.JOB_STATUS_FAILED)
    result = await cli("wait", JOB_ID)
    assert result.code == 9
    assert result.text == f"{JOB_ID}  FAILED  9\n"
    assert [request.id for request in server.waited] == [JOB_ID]
    assert not server.streamed


async def test_wait_for_several_jobs_exits_with_the_first_nonzero_code(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.add(OTHER_ID, exit_code=4, status=job_pb2.JOB_STATUS_FAILED)
    result = await cli("wait", "-o", "json", JOB_ID, OTHER_ID)
    assert result.code == 4
    assert [job["id"] for job in json.loads(result.text)] == [JOB_ID, OTHER_ID]


async def test_wait_survives_a_broken_connection(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.refusals["WaitJob"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
    result = await cli("wait", JOB_ID)
    assert result.code == 0
    assert len(server.waited) == 2


async def test_ctrl_c_ends_wait(cli: Cli, server: FakeServer) -> None:
    async def waiting(_: WaitRequest) -> WaitResponse:
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")

    server.waiting = waiting
    process = await cli.start("wait", JOB_ID)
    await until(lambda: bool(server.waited))
    process.send_signal(signal.SIGINT)
    result = await finished(process)
    assert (result.code, result.stderr) == (130, "")
    assert not server.stopped
