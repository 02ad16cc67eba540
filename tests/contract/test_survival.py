"""Check that running jobs survive kills of the supervisor and reloads."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from conftest import BIN
from google.protobuf import duration_pb2
from restarts import LastingClient, keeper, kill_supervisor, lasting_client, reload

from jobworker.v1 import job_output_pb2, job_pb2
from live import IDLE_PROCESSES, Server
from live_client import refused

GRACE_SECONDS = 8
TIMEOUT_SECONDS = 10


async def test_restarts_leak_no_descriptor_and_no_process(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        await admin.create("true", request_id="warm up")
        await kill_supervisor(own_server)
        main, idle = keeper(own_server), await _when_idle(own_server, admin)
        jobs = [await admin.create("sleep", "1000", request_id=f"sleep {number}") for number in range(3)]
        for restart in (kill_supervisor, reload, kill_supervisor, reload):
            await restart(own_server)
            await admin.get(jobs[0].id)
        for job in jobs:
            assert (await admin.stop(job.id, seconds=0)).status == job_pb2.JOB_STATUS_STOPPED
        assert await _when_idle(own_server, admin) == idle
        assert main.pid == keeper(own_server).pid
    assert own_server.job_cgroups() == []


async def _when_idle(server: Server, admin: LastingClient) -> tuple[int, int]:
    """Return the keeper's descriptors and the server's processes when they are idle and stay the same."""
    await asyncio.gather(*(admin.ended(job.id) for job in await admin.list()))
    seen = [(0, 0)]
    async with asyncio.timeout(60):
        while seen[-1][1] != IDLE_PROCESSES or len(set(seen[-20:])) > 1 or len(seen) < 20:
            seen.append((keeper(server).num_fds(), len(server.descendants())))
            await asyncio.sleep(0.1)
    return seen[-1]


async def test_timeouts_and_grace_periods_continue(own_server: Server) -> None:
    ignoring = "trap 'echo term' TERM; echo ready; while :; do sleep 0.05; done"
    async with lasting_client(own_server) as admin:
        timed = await admin.create("sleep", "1000", timeout=duration_pb2.Duration(seconds=TIMEOUT_SECONDS))
        stubborn = await admin.create("sh", "-c", ignoring)
        await admin.wrote(stubborn.id, b"ready\n")
        begin = time.monotonic()
        stop = asyncio.create_task(admin.stop(stubborn.id, seconds=GRACE_SECONDS))
        await admin.wrote(stubborn.id, b"term\n")
        await kill_supervisor(own_server)
        async with refused(grpc.StatusCode.UNAVAILABLE):
            await stop
        await admin.get(stubborn.id)
        await reload(own_server)
        await admin.get(stubborn.id)
        await kill_supervisor(own_server)
        stopped = await admin.ended(stubborn.id)
        taken = time.monotonic() - begin
        timed_out = await admin.ended(timed.id)
        output = await admin.stream(stubborn.id)
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDOUT) == b"ready\nterm\n"
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.termination.signal == signal.SIGKILL
    assert stopped.termination.stopped_by == stubborn.owner
    assert GRACE_SECONDS <= taken < GRACE_SECONDS * 1.5
    assert timed_out.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT
    assert TIMEOUT_SECONDS <= timed_out.usage.wall_usec / 1e6 < TIMEOUT_SECONDS * 1.5


async def test_a_request_id_names_the_same_job_after_each_restart(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        running = await admin.create("sleep", "1000", request_id="running", env={"NAME": "secret"})
        ended = await admin.ended((await admin.create("sh", "-c", "exit 3", request_id="ended")).id)
        for restart in (kill_supervisor, reload):
            await restart(own_server)
            again = await admin.create("sleep", "1000", request_id="running", env={"NAME": "secret"})
            assert (again.id, again.pid) == (running.id, running.pid)
            assert await admin.create("sh", "-c", "exit 3", request_id="ended") == ended
            async with refused(grpc.StatusCode.ALREADY_EXISTS) as refusal:
                await admin.create("sleep", "1000", request_id="running", env={"NAME": "other"})
            assert refusal.reason == "REQUEST_ID_REUSED"
        assert len(await admin.list()) == 2


@pytest.fixture
def four_users(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with as many users as jobs, so that a lost user is noticed."""
    env = {"JOBWORKERD_ISOLATION_UID_COUNT": "4"}
    with Server.started(BIN, certs, tmp_path / "state", "--max-jobs", "4", **env) as started:
        yield started


@pytest.mark.root
async def test_running_jobs_keep_their_users(four_users: Server) -> None:
    async with lasting_client(four_users) as admin:
        for restart in (kill_supervisor, reload):
            jobs = [await admin.create("sleep", "1000") for _ in range(2)]
            await restart(four_users)
            await admin.get(jobs[0].id)
            jobs += [await admin.create("sleep", "1000") for _ in range(2)]
            uids = {psutil.Process(job.pid).uids().real for job in jobs}
            assert len(uids) == len(jobs)
            async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
                await admin.create("true")
            await asyncio.gather(*(admin.stop(job.id, seconds=0) for job in jobs))


@pytest.mark.parametrize("serving", [True, False])
async def test_jobs_end_as_usual_at_a_shutdown_after_a_kill_of_the_supervisor(
    own_server: Server, *, serving: bool
) -> None:
    """The signal arrives when the new supervisor serves, or before."""
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done")
        await admin.wrote(job.id, b"ready\n")
        await kill_supervisor(own_server)
        if serving:
            await admin.get(job.id)
    assert own_server.stop() == 0
    own_server.launch()
    async with lasting_client(own_server) as admin:
        stopped = await admin.get(job.id)
    assert (stopped.status, stopped.exit_code) == (job_pb2.JOB_STATUS_STOPPED, 4)
    assert stopped.termination.reason == job_pb2.TERMINATION_REASON_STOPPED
