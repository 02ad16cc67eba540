"""A gateway relays the output and the input of jobs on a real node."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import psutil
import pytest
from restarts import api_process, supervisor

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2
from jobworkerd.config import LogConfig
from live import SLOW, Server
from live_client import client, refused
from relayed_node import RelayedNode, relayed

AttachRequest = job_service_pb2.AttachJobRequest

LINES = 20_000 if SLOW else 200_000

NUMBERS = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done"
SOURCES = "for i in $(seq 300); do echo out $i; echo err $i >&2; done"


@pytest.fixture
async def node(own_server: Server, tmp_path: Path) -> AsyncIterator[RelayedNode]:
    """A gateway for a server that the test can break."""
    async with (
        client(own_server, "admin") as at_node,
        relayed(own_server, at_node, tmp_path, LogConfig(stall_timeout=1.0)) as found,
    ):
        yield found


@pytest.mark.parametrize("mixed", [True, False])
async def test_the_output_equals_the_log_of_the_node(node: RelayedNode, *, mixed: bool) -> None:
    job_id = await node.create("sh", "-c", SOURCES)
    relayed_output = await node.client.stream(job_id, mixed_sources=mixed)
    local = await node.at_node.stream(job_id, mixed_sources=mixed)
    assert relayed_output.bytes() == local.bytes()
    assert relayed_output.result
    assert (relayed_output.result.node, relayed_output.result.exit_code) == ("one", 0)
    assert relayed_output.result.log_size == len(local.bytes())


async def test_each_start_position_is_that_of_the_node(node: RelayedNode) -> None:
    job_id = await node.create("sh", "-c", SOURCES)
    await node.client.stream(job_id)
    for fields in ({"offset": 100}, {"tail_lines": 5}, {"tail_bytes": 77}, {"source": 2, "tail_lines": 3}):
        assert await node.client.stream(job_id, **fields) == await expected(node, job_id, fields)


async def expected(node: RelayedNode, job_id: str, fields: dict[str, int]) -> object:
    """Return the output of the node, with the record of the cluster."""
    output = await node.at_node.stream(job_id, **fields)
    assert output.result
    output.result.node, output.result.attempt = "one", 1
    return output


@pytest.mark.parametrize("part", [api_process, supervisor])
async def test_a_stream_survives_the_processes_of_the_node(
    node: RelayedNode, own_server: Server, part: Callable[[Server], psutil.Process]
) -> None:
    job_id = await node.create("sh", "-c", NUMBERS)
    request = job_service_pb2.GetJobsStreamRequest(id=job_id, mixed_sources=True)
    output, result, killed = b"", None, 0
    async for message in node.client.stub.GetJobsStream(request, timeout=110):
        assert message.offset == len(output), "no gap"
        output += message.payload
        if message.HasField("result"):
            result = message.result
        elif len(output) > (killed + 1) * 200_000 and killed < 3:
            with contextlib.suppress(ProcessLookupError):  # the former one is not replaced yet
                part(own_server).send_signal(signal.SIGKILL)
                killed += 1
    assert killed
    assert output == b"".join(b"line %d\n" % number for number in range(LINES))
    assert result
    assert result.status == job_pb2.JOB_STATUS_COMPLETED


async def test_a_client_that_does_not_read_is_ended_and_resumes(node: RelayedNode) -> None:
    job_id = await node.create("head", "-c", str(64 * 2**20), "/dev/zero")
    request = job_service_pb2.GetJobsStreamRequest(id=job_id)
    received = 0
    async with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
        async for message in node.client.stub.GetJobsStream(request, timeout=110):
            if not received:
                await asyncio.sleep(3)  # three times the stall timeout of the gateway
            received = message.next_offset
    assert refusal.reason == "READER_STALLED"
    assert received < 64 * 2**20
    rest = await node.client.stream(job_id, offset=received)
    assert received + len(rest.bytes()) == 64 * 2**20


async def queued(
    requests: asyncio.Queue[job_service_pb2.AttachJobRequest],
) -> AsyncIterator[job_service_pb2.AttachJobRequest]:
    """Yield requests without an end."""
    while True:
        yield await requests.get()


async def test_an_attached_client_talks_to_the_job(node: RelayedNode) -> None:
    job_id = await node.create("cat", stdin=job_pb2.JOB_STDIN_OPEN)
    requests: asyncio.Queue[job_service_pb2.AttachJobRequest] = asyncio.Queue()
    requests.put_nowait(AttachRequest(start=job_attach_pb2.AttachStart(id=job_id, input_id="i")))
    call = node.client.stub.AttachJob(queued(requests), timeout=60)
    output, accepted, result = b"", [], None
    async for message in call:
        if message.HasField("input_accepted"):
            accepted.append(message.input_accepted.offset)
            if len(accepted) == 1:
                requests.put_nowait(AttachRequest(input=job_attach_pb2.InputChunk(data=b"hello\n")))
                requests.put_nowait(AttachRequest(eof=job_attach_pb2.InputEnd(offset=6)))
        output += message.output.payload
        if message.output.HasField("result"):
            result = message.output.result
    assert (output, accepted) == (b"hello\n", [0, 6, 6])
    assert result
    assert (result.status, result.node) == (job_pb2.JOB_STATUS_COMPLETED, "one")


async def test_an_error_of_the_node_is_that_of_a_single_host(node: RelayedNode) -> None:
    job_id = await node.create("true")
    for each in (node.client, node.at_node):
        await each.ended(job_id)
        async with refused(grpc.StatusCode.OUT_OF_RANGE) as refusal:
            await each.stream(job_id, offset=5)
        assert (refusal.reason, refusal.message) == (
            "OFFSET_OUT_OF_RANGE",
            "offset: 5 is past the end of the log; use 0 to 0",
        )


async def test_the_user_is_the_one_who_stops_a_job(node: RelayedNode) -> None:
    job_id = await node.create("sleep", "60")
    stopped = await node.client.stop(job_id)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.stopped_by == "CN=alice,OU=Admin"
