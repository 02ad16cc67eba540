"""Check that every reader of GetJobsStream gets exactly the bytes that the job wrote."""

import asyncio
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from jobworker_client import source_runs, split_chunk
from live import Server, eventually
from live_client import Client, Output, client, refused
from small_disk import small_disk

BIN = Path(sys.executable).parent
STDOUT, STDERR = job_output_pb2.OUTPUT_SOURCE_STDOUT, job_output_pb2.OUTPUT_SOURCE_STDERR


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


async def test_sources_are_marked_and_share_offsets(admin: Client) -> None:
    script = "for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done"
    job = await admin.create("sh", "-c", script)
    output = await admin.stream(job.id)
    assert output.bytes(STDOUT) == b"out1\nout2\nout3\n"
    assert output.bytes(STDERR) == b"err1\nerr2\nerr3\n"
    assert output.bytes() == b"out1\nerr1\nout2\nerr2\nout3\nerr3\n"
    times = [chunk.time.ToNanoseconds() for chunk in output.chunks]
    assert times == sorted(times)


async def test_readers_that_join_at_any_time_get_the_same_bytes(admin: Client, viewer: Client) -> None:
    size = 2 << 20
    job = await admin.create("sh", "-c", f"yes 0123456789abcde | head -c {size}")
    readers = [asyncio.create_task(each.stream(job.id)) for each in (admin, viewer) for _ in range(4)]
    outputs = [*await asyncio.gather(*readers), await viewer.stream(job.id)]
    digests = {hashlib.sha256(each.bytes()).hexdigest() for each in outputs}
    expected = (b"0123456789abcde\n" * (size // 16))[:size]
    assert digests == {hashlib.sha256(expected).hexdigest()}
    assert all(each.result and each.result.log_size == size for each in outputs)


BY_TURNS = (
    "import os, time\n"
    "for number in range(300):\n"
    "    os.write(1 + number % 2, b'%d' % (number % 10)); time.sleep(.001)\n"
)


def written(output: Output) -> tuple[bytes, list[int], list[int]]:
    """Return the output with the source and the time of each byte."""
    found = [piece for chunk in output.chunks for piece in split_chunk(chunk)]
    sources = [int(piece.source) for piece in found for _ in piece.payload]
    times = [piece.time.ToNanoseconds() for piece in found for _ in piece.payload]
    return b"".join(piece.payload for piece in found), sources, times


async def test_alternating_writes_are_replayed_in_one_message(admin: Client) -> None:
    job = await admin.create("python3", "-c", BY_TURNS)
    live = await admin.stream(job.id)
    replayed = await admin.stream(job.id, mixed_sources=True)
    one_source = await admin.stream(job.id, source=STDERR, mixed_sources=True)
    assert len(replayed.chunks) == 1
    assert written(replayed)[:2] == written(live)[:2]
    # If both pipes have output, either may be read first.
    assert sorted(written(live)[0]) == sorted(b"0123456789" * 30)
    assert b"".join(data for chunk in replayed.chunks for of, data in source_runs(chunk) if of == STDERR) == (
        b"13579" * 30
    )
    assert len(one_source.chunks) == 1
    assert one_source.chunks[0].payload == b"13579" * 30
    expected = [found for found in zip(*written(live), strict=True) if found[1] == STDERR]
    assert written(one_source)[0] == bytes(byte for byte, _, _ in expected)


async def test_a_replay_has_the_times_of_the_live_stream(admin: Client) -> None:
    """Accurate to 10 ms, as docs/logs.md promises."""
    script = "import os, time\nfor number in range(300):\n os.write(1, b'x'); time.sleep(.001)"
    job = await admin.create("python3", "-c", script)
    live, replayed = await admin.stream(job.id), await admin.stream(job.id)
    assert len(replayed.chunks) == 1
    (seen, _, seen_times), (output, _, times) = written(live), written(replayed)
    assert seen == output == b"x" * 300
    assert max(abs(one - other) for one, other in zip(seen_times, times, strict=True)) < 10_000_000
    assert len(set(times)) > 20


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


LINES = r"printf 'one\ntwo\n'; sleep 0.2; echo err >&2; sleep 0.2; printf 'three\nfour'"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"tail_lines": 0}, b""),
        ({"tail_lines": 1}, b"four"),
        ({"tail_lines": 3}, b"err\nthree\nfour"),
        ({"tail_lines": 3, "source": STDOUT}, b"two\nthree\nfour"),
        ({"tail_lines": 1, "source": STDERR}, b"err\n"),
        ({"tail_lines": 1_000}, b"one\ntwo\nerr\nthree\nfour"),
        ({"tail_bytes": 0}, b""),
        ({"tail_bytes": 6}, b"e\nfour"),
        ({"tail_bytes": 11, "source": STDOUT}, b"\nthree\nfour"),
        ({"tail_bytes": 1_000}, b"one\ntwo\nerr\nthree\nfour"),
        ({"tail_lines": 1, "tail_bytes": 6}, b"four"),
        ({"tail_lines": 5, "offset": 20}, b"ur"),
        ({"source": STDOUT, "offset": 2}, b"e\ntwo\nthree\nfour"),
        ({"source": STDERR}, b"err\n"),
        ({"since": Timestamp(seconds=0)}, b"one\ntwo\nerr\nthree\nfour"),
        ({"since": Timestamp(seconds=2**33)}, b""),
    ],
)
async def test_selected_output(admin: Client, part: dict[str, Any], expected: bytes) -> None:
    job = await admin.create("sh", "-c", LINES)
    await admin.ended(job.id)
    for follow in (True, False):
        output = await admin.stream(job.id, follow=follow, **part)
        assert output.bytes() == expected
        assert output.result


async def test_since_the_time_of_a_message(admin: Client) -> None:
    job = await admin.create("sh", "-c", LINES)
    *_, third = (await admin.stream(job.id)).chunks
    assert (await admin.stream(job.id, since=third.time)).bytes() == b"three\nfour"


async def test_a_stream_starts_with_its_start_offset(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo before; sleep 600")
    reader = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
    await reader.read()
    request = job_service_pb2.GetJobsStreamRequest(id=job.id, tail_lines=0)
    # The reader learns its start offset before there is any output.
    first = await admin.stub.GetJobsStream(request, timeout=60).read()
    assert first == job_service_pb2.GetJobsStreamResponse(start_offset=7, offset=7, next_offset=7)
    await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=60)


async def test_truncated_output_is_reported_with_its_exact_range(certs: Path, tmp_path: Path) -> None:
    bound, size = 1 << 20, 8 << 20
    limits = {"JOBWORKERD_LOG_MAX_BYTES": str(bound)}
    with Server.started(BIN, certs, tmp_path / "state", **limits) as server:
        async with client(server, "admin") as admin:
            script = f"seq -f %015.0f 1 {size // 16}"
            job = await admin.create("sh", "-c", script)
            live = await admin.stream(job.id)
            late = await admin.stream(job.id)
    expected = b"".join(b"%015d\n" % number for number in range(1, size // 16 + 1))
    for output in (live, late):
        missing = bytearray(expected)
        for chunk in output.chunks:
            assert chunk.payload == expected[chunk.offset : chunk.offset + len(chunk.payload)]
            missing[chunk.offset : chunk.offset + len(chunk.payload)] = bytes(len(chunk.payload))
        for gap in output.truncated:
            missing[gap.from_offset : gap.to_offset] = bytes(gap.to_offset - gap.from_offset)
        assert not any(missing), "each byte is sent or reported as truncated"
        assert output.result
        assert output.result.log_size == size
    # It may begin below the log start: the message cache still has messages of another reader.
    (gap,) = late.truncated
    assert "size limit" in gap.reason
    assert bound // 2 < size - gap.to_offset <= bound


@pytest.mark.root
async def test_a_full_disk_loses_a_reported_range_and_not_the_job(certs: Path, tmp_path: Path) -> None:
    size = 16 << 20
    with (
        small_disk(tmp_path / "state" / "state", "8m"),
        Server.started(BIN, certs, tmp_path / "state") as server,
    ):
        async with client(server, "admin") as admin:
            job = await admin.create("sh", "-c", f"seq -f %015.0f 1 {size // 16}; exit 3")
            output = await admin.stream(job.id)
            async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
                await admin.create("echo", "there is no space for another log")
            logs = {entry.name for entry in (tmp_path / "state/state/jobs").iterdir()}
            assert logs <= {job.id, "next"}
    expected = b"".join(b"%015d\n" % number for number in range(1, size // 16 + 1))
    # The lost range may grow between messages; `stream` has checked that the ranges are contiguous.
    first, last = output.truncated[0].from_offset, output.truncated[-1].to_offset
    assert last == size
    assert "could not store" in output.truncated[0].reason
    assert output.bytes() == expected[:first]
    assert first > 1 << 20
    assert output.result
    assert (output.result.exit_code, output.result.log_size) == (3, size)


async def test_without_follow_the_stream_ends_at_once(admin: Client) -> None:
    job = await admin.create("sh", "-c", "echo now; sleep 1000")
    output = await admin.stream(job.id, follow=False)
    while output.bytes() != b"now\n":
        output = await admin.stream(job.id, follow=False)
    assert output.result
    assert output.result.status == job_pb2.JOB_STATUS_RUNNING
    await admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job.id), timeout=60)


async def test_cancelled_reader_does_not_disturb_another(admin: Client) -> None:
    job = await admin.create("sh", "-c", "for i in $(seq 20); do echo $i; sleep 0.02; done")
    steady = asyncio.create_task(admin.stream(job.id))
    for _ in range(10):
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
        await call.read()
        call.cancel()
    assert (await steady).bytes() == b"".join(b"%d\n" % number for number in range(1, 21))


def ended_as(server: Server, method: str, status: str) -> bool:
    """Return whether the server logged an RPC of this method with this status."""
    return any(
        event.get("event") == "rpc" and event["method"].endswith(method) and event["status"] == status
        for event in server.events()
    )


async def test_stalled_reader_is_cut_off_and_can_resume(own_server: Server) -> None:
    size = 32 << 20
    async with client(own_server, "admin") as admin:
        job = await admin.create("head", "-c", str(size), "/dev/zero")
        await admin.ended(job.id)
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=180)
        messages = aiter(call)
        await anext(messages)
        # The time to fill the HTTP/2 windows varies; the server logs when the stall timeout ends.
        await eventually(lambda: own_server.has_event("reader stalled"), seconds=120)
        # The RPC has ended on the server although the client has not read its status.
        await eventually(lambda: ended_as(own_server, "GetJobsStream", "UNAVAILABLE"))
        taken = 0
        async with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
            async for message in messages:
                taken = message.offset + len(message.payload)
        assert refusal.reason == "READER_STALLED"
        assert not re.search(r"\d{5}", refusal.message), "no offset: only the client knows what it received"
        assert 0 < taken < size
        rest = await admin.stream(job.id, offset=taken)
    assert taken + len(rest.bytes()) == size
