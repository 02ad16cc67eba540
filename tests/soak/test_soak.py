"""`make soak`: check that many readers under minutes of load get exactly the bytes of the job.

The tests use the generated stubs over mTLS against their own server. Each case is bounded in count and
asserts no durations.
"""

import asyncio
import dataclasses
import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from live import IDLE_PROCESSES, Server, eventually, make_certificates
from live_client import Client, client
from tests.interop.proxy import Fault, FaultyProxy

BIN = Path(sys.executable).parent
GIB = 1 << 30
PATIENT = {"JOBWORKERD_LOG_STALL_TIMEOUT": "600"}
Request = job_service_pb2.GetJobsStreamRequest

# The bytes depend on the offset, so a repeated or missing chunk changes the digest.
COUNTED = "import sys\nfor n in range({count}): sys.stdout.buffer.write(b'%063d\\n' % n * {times})"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    certs = make_certificates(BIN, tmp_path_factory.mktemp("certs"))
    with Server.started(BIN, certs, tmp_path_factory.mktemp("state"), **PATIENT) as started:
        yield started


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[Client]:
    async with client(server, "admin") as connected:
        yield connected


async def digest(reader: Client, job_id: str, offset: int = 0) -> tuple[str, int]:
    """Check that the chunks are contiguous; return their SHA-256 and total length."""
    found, at = hashlib.sha256(), offset
    async for message in reader.stub.GetJobsStream(Request(id=job_id, offset=offset)):
        assert message.offset == at
        assert not message.HasField("truncated")
        if message.HasField("result"):
            assert message.result.log_size == at
            return found.hexdigest(), at - offset
        found.update(message.payload)
        at += len(message.payload)
    raise AssertionError("no result")


def counted(count: int, times: int = 1) -> tuple[list[str], str]:
    """Return a command and the SHA-256 of its output."""
    found = hashlib.sha256()
    for number in range(count):
        found.update(b"%063d\n" % number * times)
    return ["python3", "-c", COUNTED.format(count=count, times=times)], found.hexdigest()


async def test_one_gib_to_readers_that_join_at_any_time(admin: Client) -> None:
    command, expected = counted(GIB // 64 // 1024, times=1024)
    job = await admin.create(*command, max_cpu=400, max_memory=256)
    early = [asyncio.create_task(digest(admin, job.id)) for _ in range(2)]
    await asyncio.sleep(0.2)
    during = [asyncio.create_task(digest(admin, job.id)) for _ in range(2)]
    assert set(await asyncio.gather(*early, *during)) == {(expected, GIB)}
    assert await digest(admin, job.id) == (expected, GIB)


async def test_a_thousand_jobs_of_one_line(admin: Client) -> None:
    """Readers join at the start, while the job runs or ends, and after."""

    async def one(number: int) -> None:
        job = await admin.create("sh", "-c", f"echo line {number}")
        during = asyncio.create_task(digest(admin, job.id))
        expected = hashlib.sha256(b"line %d\n" % number).hexdigest()
        before = await digest(admin, job.id)
        assert {before, await during, await digest(admin, job.id)} == {(expected, before[1])}

    for first in range(0, 1_000, 20):
        await asyncio.gather(*(one(number) for number in range(first, first + 20)))


@pytest.mark.parametrize("connections", [1, 100])
async def test_a_thousand_readers(server: Server, admin: Client, connections: int) -> None:
    command, expected = counted(1_024, times=16)
    job = await admin.create(*command, max_cpu=100, max_memory=64)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(client(server, "viewer")) for _ in range(connections)]
        found = await asyncio.gather(*(digest(readers[n % connections], job.id) for n in range(1_000)))
    assert set(found) == {(expected, 1 << 20)}


async def test_readers_that_join_stall_and_die_do_not_disturb_others(server: Server, admin: Client) -> None:
    command, expected = counted(256 * 1024 // 64, times=1024)
    job = await admin.create(*command, max_cpu=400, max_memory=256)
    steady = [asyncio.create_task(digest(admin, job.id)) for _ in range(3)]
    async with client(server, "viewer") as viewer:
        stopped = aiter(viewer.stub.GetJobsStream(Request(id=job.id)))
        first = await anext(stopped)
        for number in range(200):
            call = viewer.stub.GetJobsStream(Request(id=job.id, tail_bytes=number))
            await call.read()
            call.cancel()
        killed = [await killed_reader(server, job.id) for _ in range(5)]
        assert killed == [-9] * 5
        # It stopped reading after its first message; now it reads the rest.
        rest, at = hashlib.sha256(first.payload), len(first.payload)
        async for message in stopped:
            rest.update(message.payload)
            at = message.offset + len(message.payload)
        assert (rest.hexdigest(), at) == (expected, 256 << 20)
    assert set(await asyncio.gather(*steady)) == {(expected, 256 << 20)}


async def killed_reader(server: Server, job_id: str) -> int | None:
    """Run a reader in its own process, kill it while it reads, and return its exit status."""
    env = {
        "PATH": "/usr/bin:/bin",
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
    }
    argv = [str(BIN / "jobworker"), "stream", job_id]
    process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    await process.stdout.readexactly(1 << 16)  # its pipe is full now, so it cannot end by itself
    process.kill()
    # A full StreamReader does not see the end of the pipe, and wait() waits for that end, too.
    await process.communicate()
    return process.returncode


async def test_readers_resume_after_connection_resets(server: Server, admin: Client) -> None:
    """RST cuts every connection after a while; the log is read over many of them."""
    command, expected = counted(64 * 1024 // 64, times=1024)
    job = await admin.create(*command, max_cpu=400, max_memory=256)
    found, at, connections = hashlib.sha256(), 0, 0
    result = None
    while result is None:
        connections += 1
        with FaultyProxy.started(server.address, Fault.RESET, 4 << 20) as proxy:
            through = dataclasses.replace(server, address=proxy.address)
            async with client(through, "viewer") as viewer:
                try:
                    async for message in viewer.stub.GetJobsStream(Request(id=job.id, offset=at)):
                        assert message.offset == at
                        found.update(message.payload)
                        at += len(message.payload)
                        if message.HasField("result"):
                            result = message.result
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
    assert (found.hexdigest(), at) == (expected, 64 << 20)
    assert connections > 8


async def test_readers_that_change_their_selection(admin: Client) -> None:
    """From all output to one source, then to the tail: each part is exact."""
    script = "import os\nfor n in range(60000): os.write(1 + n % 2, b'%07d\\n' % n)"
    job = await admin.create("python3", "-c", script, max_cpu=400, max_memory=64)
    at, got = 0, b""
    async for message in admin.stub.GetJobsStream(Request(id=job.id)):
        got += message.payload
        at = message.offset + len(message.payload)
        if at > 100_000:
            break
    stderr = job_output_pb2.OUTPUT_SOURCE_STDERR
    errors = await admin.stream(job.id, offset=at, source=stderr)
    whole = await admin.stream(job.id)
    assert sorted(whole.bytes().split()) == [b"%07d" % number for number in range(60_000)]
    assert whole.bytes().startswith(got)
    assert whole.bytes(stderr).endswith(errors.bytes())
    assert len(whole.bytes(stderr)) - len(errors.bytes()) < at
    assert whole.bytes().endswith((await admin.stream(job.id, tail_bytes=12_345)).bytes())


async def test_a_daemon_that_holds_the_pipe_after_the_main_process_exits(admin: Client) -> None:
    """The output up to the exit is complete; the daemon is killed, and the streams end."""
    script = "(setsid sh -c 'while :; do echo daemon; done') & head -c 1000000 /dev/zero; exit 3"
    for _ in range(20):
        job = await admin.create("sh", "-c", script, max_cpu=400)
        one, other = await asyncio.gather(digest(admin, job.id), digest(admin, job.id))
        output = await admin.stream(job.id)
        assert one == other == (hashlib.sha256(output.bytes()).hexdigest(), len(output.bytes()))
        assert output.bytes().count(b"\0") == 1_000_000
        assert output.result
        assert (output.result.exit_code, output.result.termination.leftovers_killed) == (3, True)


async def test_interleaved_sources_are_exact(admin: Client) -> None:
    script = "import os\nfor n in range(100000): os.write(1 + n % 2, b'%d\\n' % n)"
    job = await admin.create("python3", "-c", script, max_cpu=400, max_memory=64)
    output = await admin.stream(job.id)
    for source, first in (
        (job_output_pb2.OUTPUT_SOURCE_STDOUT, 0),
        (job_output_pb2.OUTPUT_SOURCE_STDERR, 1),
    ):
        expected = b"".join(b"%d\n" % number for number in range(first, 100_000, 2))
        assert output.bytes(source) == expected
        assert (await admin.stream(job.id, source=source)).bytes() == expected


async def test_the_api_process_is_killed_again_and_again(server: Server) -> None:
    command, expected = counted(64 * 1024 // 64, times=1024)
    found, at = hashlib.sha256(), 0
    async with client(server, "admin") as admin:
        job = await admin.create(*command, max_cpu=400, max_memory=256)
    kills, result = 0, None
    while result is None:
        async with client(server, "viewer") as viewer:
            try:
                stream = viewer.stub.GetJobsStream(Request(id=job.id, offset=at), wait_for_ready=True)
                async for message in stream:
                    assert message.offset == at
                    found.update(message.payload)
                    at += len(message.payload)
                    if message.HasField("result"):
                        result = message.result
                    elif kills < 8 and at > (kills + 1) << 22:
                        kills += 1
                        for process in server.api_processes():
                            process.kill()
                            process.wait()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
        await eventually(lambda: bool(server.api_processes()))
    assert (found.hexdigest(), at, kills) == (expected, 64 << 20, 8)
    assert result.status == job_pb2.JOB_STATUS_COMPLETED


def descriptors(server: Server) -> int:
    assert server.process
    return server.supervisor.num_fds()


async def test_nothing_leaks(server: Server, admin: Client) -> None:
    """Last test: the jobs above have leaked no process, cgroup or descriptor."""
    await eventually(lambda: len(server.descendants()) == IDLE_PROCESSES)
    assert server.job_cgroups() == []
    before = descriptors(server)
    for _ in range(20):
        await admin.run("true")
    await eventually(lambda: descriptors(server) == before)
