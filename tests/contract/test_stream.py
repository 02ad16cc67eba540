"""GetJobsStream: every reader gets exactly what the job wrote."""

import asyncio
import hashlib

import grpc
import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from live import Client, Server, client, eventually, refused

STDOUT, STDERR = job_service_pb2.OUTPUT_SOURCE_STDOUT, job_service_pb2.OUTPUT_SOURCE_STDERR


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", b""),
        ("printf x", b"x"),
        ("echo line", b"line\n"),
        (r"printf 'no newline\nat the end'", b"no newline\nat the end"),
        (r"printf '\000\001\377\376'", b"\0\1\xff\xfe"),
        ("exec >&-; sleep 0.1", b""),
        ("(sleep 0.3; echo late) & echo early", b"early\n"),
    ],
)
async def test_output_is_exact(admin: Client, script: str, expected: bytes) -> None:
    _, output = await admin.run("sh", "-c", script)
    assert output == expected


async def test_sources_are_told_apart_and_offsets_are_of_both(admin: Client) -> None:
    script = "for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done"
    job = await admin.create("sh", "-c", script)
    output = await admin.stream(job.id)
    assert output.bytes(STDOUT) == b"out1\nout2\nout3\n"
    assert output.bytes(STDERR) == b"err1\nerr2\nerr3\n"
    assert output.bytes() == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"
    times = [chunk.time.ToNanoseconds() for chunk in output.chunks]
    assert times == sorted(times)


async def test_readers_that_join_at_any_time_get_the_same(admin: Client, viewer: Client) -> None:
    size = 2 << 20
    job = await admin.create("sh", "-c", f"yes 0123456789abcde | head -c {size}")
    readers = [asyncio.create_task(each.stream(job.id)) for each in (admin, viewer) for _ in range(4)]
    outputs = [*await asyncio.gather(*readers), await viewer.stream(job.id)]
    digests = {hashlib.sha256(each.bytes()).hexdigest() for each in outputs}
    expected = (b"0123456789abcde\n" * (size // 16))[:size]
    assert digests == {hashlib.sha256(expected).hexdigest()}
    assert all(each.result and each.result.log_size == size for each in outputs)


async def test_many_small_writes_are_exact(admin: Client) -> None:
    _, output = await admin.run("seq", "200000")
    assert output == b"".join(b"%d\n" % number for number in range(1, 200_001))


@pytest.mark.parametrize("offset", [0, 1, 5, 9, 10])
async def test_offset(admin: Client, offset: int) -> None:
    job = await admin.create("printf", "0123456789")
    await admin.ended(job.id)
    assert (await admin.stream(job.id, offset=offset)).bytes() == b"0123456789"[offset:]


async def test_offset_past_the_end(admin: Client) -> None:
    job = await admin.create("printf", "0123456789")
    await admin.ended(job.id)
    async with refused(grpc.StatusCode.OUT_OF_RANGE) as refusal:
        await admin.stream(job.id, offset=11)
    assert refusal.reason == "OFFSET_OUT_OF_RANGE"
    async with refused(grpc.StatusCode.INVALID_ARGUMENT):
        await admin.stream(job.id, offset=-1)


async def test_without_follow_the_stream_ends_at_once(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo now; sleep 1000")
    output = await admin.stream(job.id, follow=False)
    while output.bytes() != b"now\n":
        output = await admin.stream(job.id, follow=False)
    assert output.result
    assert output.result.status == job_pb2.JOB_STATUS_RUNNING
    await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=60)


async def test_result_alone(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo noise; exit 5")
    output = await admin.stream(job.id, result_only=True)
    assert output.chunks == []
    assert output.result
    assert output.result.exit_code == 5


async def test_cancelled_reader_does_not_disturb_another(admin: Client) -> None:
    job = await admin.create("sh", "-c", "for i in $(seq 20); do echo $i; sleep 0.02; done")
    steady = asyncio.create_task(admin.stream(job.id))
    for _ in range(10):
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
        await call.read()
        call.cancel()
    assert (await steady).bytes() == b"".join(b"%d\n" % number for number in range(1, 21))


async def test_reader_that_takes_nothing_is_cut_off_and_can_go_on(own_server: Server) -> None:
    size = 32 << 20
    async with client(own_server, "admin") as admin:
        job = await admin.create("head", "-c", str(size), "/dev/zero")
        await admin.ended(job.id)
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=180)
        messages = aiter(call)
        await anext(messages)
        # How long the windows of HTTP/2 take to fill is the machine's; when that is over, the server says.
        await eventually(lambda: own_server.has_event("reader stalled"), seconds=120)
        taken = 0
        async with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            async for message in messages:
                taken = message.offset + len(message.payload)
        assert refusal.reason == "READER_STALLED"
        assert 0 < taken < size
        rest = await admin.stream(job.id, offset=taken)
    assert taken + len(rest.bytes()) == size
