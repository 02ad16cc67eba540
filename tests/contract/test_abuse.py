"""Clients beyond their bounds, and a server that clients have attacked."""

import asyncio
import contextlib
import gzip
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import http2
import pytest
from footprint import Footprint
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_service_pb2
from live import IDLE_PROCESSES, Server, eventually
from live_client import client, refused

BIN = Path(sys.executable).parent
GET = "/jobworker.v1.JobService/GetJob"
STREAMS = 60
HALF_OPEN = 200
BOMBS = (
    http2.header_bomb(GET),
    http2.endless_headers(GET, 128),
    http2.gzipped_call(GET, gzip.compress(bytes(32 << 20))),
    http2.unfinished_call(GET, 1 << 20),
)
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def bounded_server(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with low bounds on each client."""
    bounds = {
        "JOBWORKERD_QUOTA_VIEWER_CONCURRENT_RPCS": str(STREAMS),
        "JOBWORKERD_QUOTA_ADMIN_RUNNING_JOBS": "2",
        "JOBWORKERD_QUOTA_ADMIN_CREATE_RATE": "3",
    }
    with Server.started(BIN, certs, tmp_path_factory.mktemp("bounded"), **bounds) as started:
        yield started


async def test_a_call_beyond_a_bound_is_refused_with_the_delay_of_a_retry(
    bounded_server: Server,
) -> None:
    async with client(bounded_server, "admin") as admin, client(bounded_server, "viewer") as viewer:
        jobs = [await admin.create("sleep", "100") for _ in range(2)]
        async with refused(EXHAUSTED) as refusal:
            await admin.create("true")
        assert (refusal.reason, refusal.retry_delay) == ("QUOTA_EXCEEDED", 1)
        assert "quota.admin.running_jobs" in refusal.message
        async with refused(EXHAUSTED) as refusal:
            await asyncio.gather(*(admin.create("true", queue_timeout={"seconds": 60}) for _ in range(20)))
        assert refusal.reason == "QUOTA_EXCEEDED"
        assert 0 < refusal.retry_delay <= 1 / 3
        assert "quota.admin.create_rate" in refusal.message

        request = job_service_pb2.GetJobsStreamRequest(id=jobs[0].id)
        streams = [viewer.stub.GetJobsStream(request) for _ in range(STREAMS)]
        await asyncio.gather(*(each.initial_metadata() for each in streams))
        async with refused(EXHAUSTED) as refusal:
            await viewer.get(jobs[0].id)
        assert (refusal.reason, refusal.retry_delay) == ("QUOTA_EXCEEDED", 1)
        assert (await admin.get(jobs[0].id)).id == jobs[0].id
        await asyncio.gather(*(admin.stop(each.id, seconds=0) for each in jobs))


async def test_a_server_is_the_same_after_attacks(bounded_server: Server) -> None:
    async with client(bounded_server, "admin") as admin:
        health = health_pb2_grpc.HealthStub(admin.channel)
        await health.Check(health_pb2.HealthCheckRequest())
        await eventually(lambda: len(bounded_server.descendants()) == IDLE_PROCESSES)
        before = Footprint.of(bounded_server)
        with contextlib.ExitStack() as stack:
            for _ in range(HALF_OPEN):
                stack.enter_context(_half_open(bounded_server))
            attacks = [asyncio.to_thread(_send, bounded_server, each) for each in BOMBS * 4]
            for attack in asyncio.as_completed(attacks):
                await attack
                answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        # gRPC and asyncio keep idle threads, and the allocator some memory.
        await eventually(lambda: Footprint.of(bounded_server).is_within(before, threads=8, mib=64), 60)
    assert not bounded_server.has_event("bug")
    assert not bounded_server.has_event("fault")
    assert not bounded_server.has_event("api process ended")


def _half_open(server: Server) -> socket.socket:
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)))


def _send(server: Server, data: bytes) -> None:
    """Send bytes as a viewer, and wait until the server answers or closes the connection."""
    files = (server.certs / name for name in ("ca.pem", "viewer.pem", "viewer-key.pem"))
    with http2.connect(server.address, *files) as connection, contextlib.suppress(OSError):
        connection.settimeout(1)
        connection.sendall(data)
        while connection.recv(65_536):
            pass
