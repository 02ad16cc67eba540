"""The metrics of a gateway and their endpoint."""

import asyncio
import socket
from pathlib import Path

import grpc
from api_server import Authority, Logged

from cluster_jobs import BOB, job, job_id
from fake_cluster import FakeEngine
from jobworker.v1 import cluster_service_pb2, job_service_pb2
from jobworker.v1.job_service_pb2_grpc import JobServiceStub
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.metrics import GatewayMetrics
from jobworkerd.config import MetricsConfig
from running_gateway import running_gateway
from server_fixtures import authority, logged

__all__ = ["authority", "logged"]


async def _lines(metrics: GatewayMetrics) -> set[str]:
    return set((await metrics.report("")).body.splitlines())


async def test_jobs_of_all_owners_nodes_and_certificates_are_counted() -> None:
    engine = FakeEngine()
    statuses = ("QUEUED", "QUEUED", "INITIALIZING", "RUNNING", "RUNNING", "RUNNING")
    for number, status in enumerate(statuses):
        fields = {"owner": BOB} if number % 2 else {}
        engine.jobs.put(LiveJob(job(job_id(number), status, **fields)))
    for number in range(3):
        engine.nodes[str(number)] = cluster_service_pb2.Node(name=str(number), ready=number > 0)
    lines = await _lines(GatewayMetrics(engine, lambda: {"server": 1.5}))
    assert {
        "jobworker_queue_length 2",
        'jobworker_job_active{state="initializing"} 1',
        'jobworker_job_active{state="running"} 3',
        'jobworker_cluster_nodes{ready="true"} 2',
        'jobworker_cluster_nodes{ready="false"} 1',
        'jobworker_certificate_expiry_seconds{certificate="server"} 1.5',
    } <= lines
    assert any(line.startswith('process_memory_usage_bytes{process="gateway"} ') for line in lines)


async def _scrape(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()


async def _list_jobs(channel: grpc.aio.Channel) -> None:
    await JobServiceStub(channel).ListJobs(job_service_pb2.ListJobsRequest())


async def test_a_scrape_has_the_calls_of_the_gateway(
    tmp_path: Path, authority: Authority, logged: Logged
) -> None:
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        metrics = MetricsConfig(listen=f"127.0.0.1:{port}")
        async with running_gateway(tmp_path, authority, logged, metrics=metrics) as gateway:
            async with gateway.client("Viewer") as channel:
                await _list_jobs(channel)
            found = await _scrape(port)
    labels = 'rpc_method="jobworker.v1.JobService/ListJobs",rpc_response_status_code="OK"'
    assert f"rpc_server_call_duration_seconds_count{{{labels}}} 1" in found
    assert 'certificate="server"' in found
