"""Check queued jobs on live servers: waiting, their ends, the capacity, restarts and the command."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from restarts import LastingClient, crash, keeper, lasting_client

from jobworker.v1 import job_pb2
from jobworker.v1.job_attach_pb2 import AttachStart, InputChunk, InputEnd
from jobworker.v1.job_service_pb2 import AttachJobRequest
from jobworker_command import LIMITS, Jobworker
from live import Server, still_alive, until
from live_client import refused

BIN = Path(sys.executable).parent
FOREVER = ("sleep", "100000")
HOUR = Duration(seconds=3_600)
QUEUED, RUNNING = job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_RUNNING


@pytest.fixture
def one_job(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """Yield a server that runs one job at a time."""
    with Server.started(BIN, certs, tmp_path / "state", "--max-jobs", "1") as started:
        yield started


@pytest.fixture
async def admin(one_job: Server) -> AsyncIterator[LastingClient]:
    """A client of that server."""
    async with lasting_client(one_job) as connected:
        yield connected


async def queue(client: LastingClient, *argv: str, **fields: object) -> job_pb2.Job:
    """Create a job that has to wait."""
    job = await client.create(*argv, **{"queue_timeout": HOUR, **fields})
    assert job.status == QUEUED
    return job


async def has_status(client: LastingClient, job_id: str, status: job_pb2.JobStatus.ValueType) -> None:
    """Wait until a job has a status."""
    async with asyncio.timeout(30):
        while (await client.get(job_id)).status != status:
            await asyncio.sleep(0.01)


async def test_an_attach_to_a_queued_job_waits_with_its_input(admin: LastingClient) -> None:
    first = await admin.create(*FOREVER)
    job = await queue(admin, "cat", stdin=job_pb2.JOB_STDIN_OPEN)
    call: Any = admin.stub.AttachJob(timeout=60)
    await call.write(AttachJobRequest(start=AttachStart(id=job.id, input_id="one")))
    await call.initial_metadata()
    reading = asyncio.create_task(call.read())
    await asyncio.sleep(0.3)
    assert not reading.done()
    await admin.stop(first.id, seconds=0)
    assert (await reading).input_accepted.offset == 0
    await call.write(AttachJobRequest(input=InputChunk(data=b"typed")))
    await call.read()
    await call.write(AttachJobRequest(eof=InputEnd(offset=5)))
    output = b""
    while not (message := await call.read()).output.HasField("result"):
        output += message.output.payload
    assert (output, message.output.result.exit_code) == (b"typed", 0)


async def test_a_stream_and_a_wait_of_a_queued_job_wait(admin: LastingClient) -> None:
    first = await admin.create(*FOREVER)
    job = await queue(admin, "sh", "-c", "echo $WORD; exit 4", env={"WORD": "hello"})
    streaming, waiting = asyncio.create_task(admin.stream(job.id)), asyncio.create_task(admin.ended(job.id))
    await asyncio.sleep(0.3)
    assert not streaming.done()
    assert not waiting.done()
    await admin.stop(first.id, seconds=0)
    output = await streaming
    assert output.bytes() == b"hello\n"
    assert output.result == await waiting
    assert output.result.exit_code == 4


async def test_a_job_leaves_the_queue_by_stop_and_by_timeout(admin: LastingClient) -> None:
    await admin.create(*FOREVER)
    stopped = await queue(admin, "true")
    late = await queue(admin, "true", queue_timeout=Duration(nanos=300_000_000))
    streaming = asyncio.create_task(admin.stream(stopped.id))
    job = await admin.stop(stopped.id)
    assert (job.status, job.termination.reason) == (
        job_pb2.JOB_STATUS_STOPPED,
        job_pb2.TERMINATION_REASON_STOPPED,
    )
    assert job.termination.stopped_by == job.owner
    assert (await streaming).result == job
    job = await admin.ended(late.id)
    assert (job.status, job.termination.reason) == (
        job_pb2.JOB_STATUS_FAILED,
        job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT,
    )
    waited = job.end_time.ToNanoseconds() - job.create_time.ToNanoseconds()
    assert 0.3e9 <= waited < 10e9


async def test_a_request_that_does_not_wait_is_refused_while_jobs_wait(certs: Path, tmp_path: Path) -> None:
    capacity = {"JOBWORKERD_CAPACITY_MEMORY": "128M", "JOBWORKERD_CAPACITY_CPU": "400"}
    with Server.started(BIN, certs, tmp_path / "state", **capacity) as server:
        async with lasting_client(server) as admin:
            first = await admin.create(*FOREVER)
            async with refused(grpc.StatusCode.INVALID_ARGUMENT) as too_large:
                await admin.create("true", max_memory=129, queue_timeout=HOUR)
            assert too_large.fields == ["max_memory"]
            assert "use at most 128" in too_large.message
            large = await queue(admin, *FOREVER, max_memory=128)
            assert "capacity.memory" in large.queue_reason
            async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
                await admin.create("true", max_memory=1)
            assert (refusal.reason, "queue_timeout" in refusal.message) == ("TOO_MANY_JOBS", True)
            small = await queue(admin, "true", max_memory=1)
            await admin.stop(first.id, seconds=0)
            await has_status(admin, large.id, RUNNING)
            assert (await admin.get(small.id)).status == QUEUED
            await admin.stop(large.id, seconds=0)
            assert (await admin.ended(small.id)).status == job_pb2.JOB_STATUS_COMPLETED


def test_a_server_whose_default_job_exceeds_the_capacity_does_not_start(certs: Path, tmp_path: Path) -> None:
    environment = {"JOBWORKERD_CAPACITY_MEMORY": "100", "JOBWORKERD_DEFAULTS_MAX_MEMORY": "101"}
    with (
        pytest.raises(AssertionError, match=r"defaults\.max_memory: 101 is above capacity\.memory"),
        Server.started(BIN, certs, tmp_path / "state", **environment),
    ):
        pass


async def test_the_queue_survives_a_restart_and_a_crash(one_job: Server) -> None:
    async with lasting_client(one_job) as admin:
        await admin.create(*FOREVER)
        jobs = [
            await queue(admin, "sh", "-c", "echo $SECRET", env={"SECRET": f"s3cret {number}"})
            for number in range(3)
        ]
        blocked = await queue(admin, *FOREVER, priority=1)
        streams = [asyncio.create_task(admin.stream(job.id)) for job in jobs]
        repeated = await admin.create(*FOREVER, priority=-7, queue_timeout=HOUR, request_id="again")
        assert one_job.stop() == 0
        assert one_job.state
        database = b"".join(path.read_bytes() for path in (one_job.state / "state").glob("jobworker.db*"))
        assert b"s3cret" not in database
        one_job.launch()
        await has_status(admin, blocked.id, RUNNING)
        others = one_job.descendants()
        crash(one_job, keeper(one_job))
        assert not still_alive(others)  # a service manager waits for them, too
        one_job.launch()
        again = await admin.create(*FOREVER, priority=-7, queue_timeout=HOUR, request_id="again")
        assert again.id == repeated.id
        for number, stream in enumerate(streams):
            output = await stream
            assert output.bytes() == f"s3cret {number}\n".encode()
        await has_status(admin, repeated.id, RUNNING)


async def test_an_earlier_queue_timeout_counts_after_a_restart(one_job: Server) -> None:
    async with lasting_client(one_job) as admin:
        await admin.create(*FOREVER)
        job = await queue(admin, "true", queue_timeout=Duration(seconds=1))
        assert one_job.stop() == 0
        await asyncio.sleep(1)
        one_job.launch()
        ended = await admin.ended(job.id)
        assert ended.termination.reason == job_pb2.TERMINATION_REASON_QUEUE_TIMED_OUT


async def test_the_command(one_job: Server) -> None:
    jobworker = Jobworker(one_job)
    first = jobworker.create(*FOREVER)
    refusal = jobworker("create", *LIMITS, "true")
    assert refusal.returncode == 1
    assert b"use --queue to let the job wait" in refusal.stderr
    low = jobworker.create("--queue", "--priority=-5", "echo", "low")
    with jobworker.started("run", "--queue", *LIMITS, "sh", "-c", "echo out; exit 6") as run:
        (high,) = until(lambda: [each for each in queued(jobworker) if each["id"] != low])
        assert [each["id"] for each in queued(jobworker)] == [high["id"], low]
        listed = json.loads(jobworker.printed("list", "--status", "queued", "-o", "json"))
        assert [each["id"] for each in listed] == [high["id"], low]
        header, row, _ = jobworker.printed("queue").splitlines()
        assert header.split()[:5] == ["POSITION", "ID", "OWNER", "PRIORITY", "WAITING"]
        assert row.split()[:2] == ["1", high["id"]]
        assert "1 job is running, which is the maximum (max_jobs)" in row
        jobworker.printed("stop", "--now", first)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, out) == (6, b"out\n")
    assert err.splitlines()[0].startswith(b"jobworker: position 1 in the queue: 1 job is running")
    assert jobworker("wait", low).returncode == 0
    assert queued(jobworker) == []


def queued(jobworker: Jobworker) -> list[dict[str, object]]:
    """Return the jobs that `jobworker queue` shows."""
    found: list[dict[str, object]] = json.loads(jobworker.printed("queue", "-o", "json"))
    return found
