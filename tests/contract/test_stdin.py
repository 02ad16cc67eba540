"""Tests of the input of jobs against a live server: `run -i`, and AttachJob."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from restarts import api_process, supervisor

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworker_command import BIN, Jobworker, jobworker
from live import Server
from live_client import Client, client, refused, until_status_known

__all__ = ["jobworker"]

ROOMY = ("--max-cpu", "400", "--max-memory", "64")


@pytest.mark.parametrize(
    ("command", "data", "stdout"),
    [
        (("cat",), b"hi\n", b"hi\n"),
        (("wc", "-l"), b"a\nb\n", b"2\n"),
        (("cat",), b"", b""),
        (("cat",), bytes(range(256)), bytes(range(256))),
        (("head", "-c", "3"), bytes(5_000_000), bytes(3)),
        (("true",), bytes(5_000_000), b""),
        (("sh", "-c", "exec <&-; echo closed"), b"unread", b"closed\n"),
        (("sh", "-c", "cat /dev/stdin"), b"by name", b"by name"),
    ],
)
def test_the_job_reads_stdin(
    jobworker: Jobworker, command: tuple[str, ...], data: bytes, stdout: bytes
) -> None:
    done = jobworker("run", "-i", *ROOMY, *command, stdin=data)
    assert (done.returncode, done.stdout) == (0, stdout), done.stderr


@pytest.mark.parametrize("victim", [api_process, supervisor])
def test_a_kill_neither_loses_nor_repeats_input(
    own_server: Server, victim: Callable[[Server], psutil.Process]
) -> None:
    data = os.urandom(1 << 20)
    rounds = 48
    expected = hashlib.sha256(data * rounds).hexdigest()
    with Jobworker(own_server).started("run", "-i", *ROOMY, "sha256sum", stdin=subprocess.PIPE) as process:
        assert process.stdin
        for each in range(rounds):
            process.stdin.write(data)
            if each in {10, 25}:
                victim(own_server).kill()
        stdout, stderr = process.communicate(timeout=60)
    assert stdout.split() == [expected.encode(), b"-"], stderr


def test_run_without_i_says_that_the_job_does_not_read_stdin(jobworker: Jobworker) -> None:
    hint = b"the job does not read stdin; use `run -i` to pass it\n"
    done = jobworker("run", *ROOMY, "cat", stdin=b"unread")
    assert (done.returncode, done.stdout, done.stderr.count(hint)) == (0, b"", 1)
    assert hint not in jobworker("run", *ROOMY, "cat", stdin=b"").stderr


def test_run_stops_the_job_at_sighup(jobworker: Jobworker) -> None:
    with jobworker.started("run", *ROOMY, "sh", "-c", "echo up; sleep 600") as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=30)
    assert b"stopping the job" in stderr
    assert b"stopped by" in stderr


async def opened(admin: Client, job_id: str, **start: Any) -> Any:
    """Return a call that is attached to a job."""
    call = admin.stub.AttachJob(timeout=30)
    await call.write(job_service_pb2.AttachJobRequest(start=job_attach_pb2.AttachStart(id=job_id, **start)))
    return call


async def attach(
    admin: Client, job_id: str, *parts: job_service_pb2.AttachJobRequest, **start: Any
) -> list[int]:
    """Attach to a job, send the parts one after the other, and return the accepted offsets."""
    call = await opened(admin, job_id, **start)
    answers = [await accepted(call)]
    for part in parts:
        await call.write(part)
        answers.append(await accepted(call))
    call.cancel()
    return answers


async def accepted(call: Any) -> int:
    """Return the next accepted offset."""
    while (message := await call.read()).WhichOneof("kind") != "input_accepted":
        pass
    return int(message.input_accepted.offset)


async def filled(call: Any) -> int:
    """Send input until the server has no room for more, and return the next offset."""
    offset = await accepted(call)
    for _ in range(5):
        await call.write(chunk(offset, bytes(65_536)))
        offset = await accepted(call)
    return offset


def chunk(offset: int, data: bytes) -> job_service_pb2.AttachJobRequest:
    return job_service_pb2.AttachJobRequest(input=job_attach_pb2.InputChunk(offset=offset, data=data))


def eof(offset: int) -> job_service_pb2.AttachJobRequest:
    return job_service_pb2.AttachJobRequest(eof=job_attach_pb2.InputEnd(offset=offset))


async def test_an_input_continues_after_the_last_accepted_byte(admin: Client) -> None:
    job = await admin.create("cat", stdin=job_pb2.JOB_STDIN_OPEN)
    assert await attach(admin, job.id, chunk(0, b"abc"), input_id="one") == [0, 3]
    assert await attach(admin, job.id, chunk(1, b"bcd"), input_id="one") == [3, 4]
    assert await attach(admin, job.id, chunk(0, b"-"), input_id="two", take_over=True) == [0, 1]
    async with refused(grpc.StatusCode.OUT_OF_RANGE) as refusal:
        await attach(admin, job.id, chunk(6, b"gap"), input_id="one", take_over=True)
    assert refusal.reason == "INPUT_OFFSET_OUT_OF_RANGE"
    assert await attach(admin, job.id, eof(4), input_id="one", take_over=True) == [4, 4]
    assert (await admin.stream(job.id)).bytes() == b"abcd-"


async def test_a_job_has_one_feeder(admin: Client) -> None:
    job = await admin.create("cat", stdin=job_pb2.JOB_STDIN_OPEN)
    first = await opened(admin, job.id, input_id="first")
    assert await accepted(first) == 0
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await attach(admin, job.id, input_id="second")
    assert refusal.reason == "STDIN_IN_USE"
    assert await attach(admin, job.id, chunk(0, b"2"), input_id="second", take_over=True) == [0, 1]
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await first.write(chunk(0, b"1"))
        await accepted(first)
    assert refusal.reason == "STDIN_IN_USE"
    await admin.stop(job.id)


IMPATIENT = """
import sys
if "jobworkerd.supervisor" in sys.orig_argv:
    from jobworkerd.supervisor import job_input
    job_input.RETURN_SECONDS = 0.1
"""


@pytest.fixture
def impatient_server(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that closes the stdin of kind ONCE soon after its feeder has left."""
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT)
    with Server.started(BIN, certs, tmp_path / "state", PYTHONPATH=str(tmp_path)) as started:
        yield started


async def test_stdin_of_kind_once_ends_after_its_feeder_has_left(impatient_server: Server) -> None:
    async with client(impatient_server, "admin") as admin:
        kept = await admin.create("cat", stdin=job_pb2.JOB_STDIN_OPEN)
        job = await admin.create("cat", stdin=job_pb2.JOB_STDIN_ONCE)
        for each in (kept, job):
            await attach(admin, each.id, chunk(0, b"typed"), input_id="one")
        assert (await admin.ended(job.id)).exit_code == 0
        assert (await admin.stream(job.id)).bytes() == b"typed"
        assert await attach(admin, kept.id, eof(5), input_id="one") == [5, 5]
        assert (await admin.ended(kept.id)).exit_code == 0


async def test_a_signal_reaches_a_job_that_does_not_read_its_stdin(admin: Client) -> None:
    script = "trap 'echo got; exit 3' USR1; sleep 600 & echo up; wait"
    job = await admin.create("sh", "-c", script, stdin=job_pb2.JOB_STDIN_OPEN)
    await admin.wrote(job.id, b"up")
    call = await opened(admin, job.id, input_id="one")
    offset = await filled(call)
    for number in range(4):  # which the server does not answer
        await call.write(chunk(offset + number * 65_536, bytes(65_536)))
    await call.write(job_service_pb2.AttachJobRequest(signal=job_attach_pb2.JobSignal(name="USR1")))
    while not (message := await call.read()).output.HasField("result"):
        pass
    assert message.output.result.exit_code == 3


async def test_a_client_sends_four_parts_ahead(admin: Client) -> None:
    """The job reads nothing, so the server answers only as long as it has room."""
    job = await admin.create("sleep", "600", stdin=job_pb2.JOB_STDIN_OPEN)
    call = await opened(admin, job.id, input_id="one")
    offset = await filled(call)
    for number in range(4):
        await call.write(chunk(offset + number * 65_536, bytes(65_536)))
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        await call.write(chunk(offset + 4 * 65_536, b"too early"))
        await accepted(call)
    assert refusal.fields == ["input"]
    assert await attach(admin, job.id, input_id="one") == [offset]
    await admin.stop(job.id)


async def test_refused_calls(admin: Client, viewer: Client) -> None:
    job = await admin.create("sleep", "600")
    async with refused(grpc.StatusCode.PERMISSION_DENIED):
        await until_status_known(lambda: attach(viewer, job.id, input_id="one"))
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await attach(admin, job.id, input_id="one")
    assert refusal.reason == "NO_STDIN"
    async with refused(grpc.StatusCode.INVALID_ARGUMENT) as refusal:
        call = admin.stub.AttachJob(timeout=30)
        await call.write(chunk(0, b"no start"))
        await call.read()
    assert refusal.fields == ["start"]
    await admin.stop(job.id)


def test_run_detached_prints_the_id(jobworker: Jobworker) -> None:
    job_id = jobworker.printed("run", "-d", *ROOMY, "sleep", "600").strip()
    jobworker.until_running(job_id)
    jobworker("stop", "--now", job_id)
