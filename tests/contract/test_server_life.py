"""Check jobs and readers while parts of the server die, stall or shut down."""

import asyncio
import os
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from live import IDLE_PROCESSES, SLOW, Server, eventually, still_alive
from live_client import Client, client, refused

JOBS = 20 if SLOW else 500
STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT


async def test_job_survives_a_killed_api_process(own_server: Server) -> None:
    script = "for i in $(seq 100); do echo $i; sleep 0.02; done"
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", script)
        seen = b""
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
        async with refused(grpc.StatusCode.UNAVAILABLE):
            async for message in call:
                if not seen:
                    own_server.api_processes()[0].kill()
                seen += message.payload
        rest = await _when_back(admin, job.id, len(seen))
    assert seen + rest.payload_bytes == b"".join(b"%d\n" % number for number in range(1, 101))
    assert rest.result.exit_code == 0


async def test_sigterm_stops_jobs_and_readers_get_all_output_and_the_result(
    own_server: Server,
) -> None:
    async with client(own_server, "admin") as admin:
        script = "trap 'echo last; exit 9' TERM; echo first; while :; do sleep 0.05; done"
        job = await admin.create("sh", "-c", script)
        ignoring = await admin.create("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
        call = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=90)
        messages = aiter(call)
        assert (await anext(messages)).payload == b"first\n"
        health = health_pb2_grpc.HealthStub(admin.channel).Watch(health_pb2.HealthCheckRequest(), timeout=90)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        children = own_server.descendants()
        assert own_server.process
        own_server.process.send_signal(signal.SIGTERM)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with refused(grpc.StatusCode.UNAVAILABLE):
            await admin.create("true")
        rest = [message async for message in messages]
        assert b"".join(message.payload for message in rest if message.source == STDOUT) == b"last\n"
        assert rest[-1].result.status == job_pb2.JOB_STATUS_STOPPED
        assert rest[-1].result.exit_code == 9
        own_server.process.send_signal(signal.SIGTERM)  # the second signal: the other job ignores the first
        assert ignoring.id
    assert own_server.stop() == 0
    alive = still_alive(children)
    assert alive == []
    assert own_server.cgroup_base
    assert not own_server.cgroup_base.exists()


async def test_a_stalled_supervisor_fails_calls_and_the_health_check(
    own_server: Server,
) -> None:
    request = health_pb2.HealthCheckRequest()
    async with client(own_server, "admin") as admin, asyncio.timeout(90):
        health = health_pb2_grpc.HealthStub(admin.channel).Watch(request)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        job = await admin.create("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        await admin.wrote(job.id, b"ready\n")
        supervisor = own_server.supervisor
        supervisor.suspend()
        try:
            await asyncio.gather(*(_unavailable(call) for call in _calls(admin, job.id)))
            assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            probed = await asyncio.to_thread(own_server.probe)
            assert (probed.returncode, probed.stdout) == (1, "NOT_SERVING\n")
            async with client(own_server, "viewer") as viewer:
                await _unavailable(viewer.stub.GetJob(job_service_pb2.GetJobRequest(id=job.id)))
        finally:
            supervisor.resume()
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await admin.stop(job.id, seconds=0)).status == job_pb2.JOB_STATUS_STOPPED
        health.cancel()


def _calls(admin: Client, job_id: str) -> list[Awaitable[object]]:
    """Return one call of each kind, without a deadline."""
    stream = admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job_id))
    return [
        admin.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id)),
        admin.stub.ListJobs(job_service_pb2.ListJobsRequest()),
        admin.stub.StopJob(job_service_pb2.StopJobRequest(id=job_id)),
        admin.stub.UpdateJob(job_service_pb2.UpdateJobRequest(id=job_id, max_cpu=50)),
        admin.stub.CreateJob(job_service_pb2.CreateJobRequest(command="true")),
        _read_to_the_end(stream),
    ]


async def _read_to_the_end(stream: grpc.aio.UnaryStreamCall[Any, Any]) -> None:
    async for _ in stream:
        pass


async def _unavailable(call: Awaitable[object]) -> None:
    async with refused(grpc.StatusCode.UNAVAILABLE) as refusal:
        await call
    assert refusal.reason == "SUPERVISOR_UNAVAILABLE"


async def test_a_stop_lasts_as_long_as_the_grace_period(own_server: Server) -> None:
    """The grace period exceeds the liveness timeout of the supervisor."""
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        await admin.wrote(job.id, b"ready\n")
        assert (await admin.stop(job.id, seconds=7)).termination.signal == signal.SIGKILL


@pytest.mark.root
async def test_sequential_jobs_leak_nothing(own_server: Server) -> None:
    """After a warm-up, descriptors, cgroups and processes stay constant, memory nearly so."""
    async with client(own_server, "admin") as admin:
        await _run_jobs(admin, JOBS // 5)
        # Refilling the spare pool takes descriptors.
        await eventually(lambda: len(own_server.descendants()) == IDLE_PROCESSES)
        assert own_server.process
        watched = [psutil.Process(own_server.process.pid), own_server.supervisor, *own_server.api_processes()]
        before = [(each.num_fds(), each.memory_info().rss) for each in watched]
        await _run_jobs(admin, JOBS)
        await eventually(lambda: [each.num_fds() for each in watched] == [fds for fds, _ in before])
        for process, (_, rss) in zip(watched, before, strict=True):
            assert process.memory_info().rss < rss + (4 << 20)
    assert own_server.job_cgroups() == []
    await eventually(lambda: len(own_server.descendants()) == IDLE_PROCESSES)


async def _run_jobs(admin: Client, count: int) -> None:
    for number in range(count):
        job, output = await admin.run("sh", "-c", f"echo {number}; exit {number % 3}")
        assert output == f"{number}\n".encode()
        assert job.exit_code == number % 3


class _Rest:
    def __init__(self) -> None:
        self.payload_bytes = b""
        self.result = job_pb2.Job()


async def _when_back(admin: Client, job_id: str, offset: int) -> _Rest:
    """Resume reading a job at an offset once the server answers again."""
    async with asyncio.timeout(60):
        while True:
            try:
                output = await admin.stream(job_id, offset=offset)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - any other is a failure
                await asyncio.sleep(0.05)
                continue
            rest = _Rest()
            rest.payload_bytes = output.bytes()
            assert output.result
            rest.result = output.result
            return rest


def test_busy_jobs_do_not_starve_the_server(server: Server) -> None:
    """The cpu controller ensures it, or else the autogroup of the session (sched(7))."""
    assert server.process
    autogroup = Path(f"/proc/{server.process.pid}/autogroup")
    missing = [event["controller"] for event in server.events() if event["event"] == "controller missing"]
    by_session = autogroup.exists() and ("cpu" in missing or server.has_event("no cgroups"))
    raised = by_session and os.geteuid() == 0
    assert server.has_event("busy jobs slow the server down") == (by_session and not raised)
    assert not raised or autogroup.read_text().split()[-1] == "-19"
