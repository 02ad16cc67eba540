"""Check that exhausted resources cause clear errors and that the server recovers afterwards."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from jobworker.v1 import job_pb2
from live import IDLE_PROCESSES, Server, eventually, still_alive
from live_client import Client, client, refused

BIN = Path(sys.executable).parent
FEW_DESCRIPTORS = 256
CLIENTS = 4
ROUNDS = 3


@pytest.fixture
def cramped_server(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose processes may have 256 descriptors each, far fewer than `max_jobs` jobs need."""
    limit = f"--nofile={FEW_DESCRIPTORS}:{FEW_DESCRIPTORS}"
    with Server.started(BIN, certs, tmp_path / "state", run_by=("prlimit", limit)) as started:
        yield started


async def test_a_server_that_ran_out_of_descriptors_recovers(cramped_server: Server) -> None:
    supervisor = cramped_server.supervisor
    async with client(cramped_server, "admin") as admin:
        await admin.run("true")
        for _ in range(ROUNDS):
            jobs = [
                job for part in await asyncio.gather(*(_fill(admin) for _ in range(CLIENTS))) for job in part
            ]
            assert len(jobs) >= _jobs_that_fit(cramped_server)
            # Calls that create no job still work.
            assert (await admin.get(jobs[0])).status == job_pb2.JOB_STATUS_RUNNING
            stopped = await asyncio.gather(*(admin.stop(job, seconds=0) for job in jobs))
            assert {job.status for job in stopped} == {job_pb2.JOB_STATUS_STOPPED}
            _, output = await admin.run("echo", "works")
            assert output == b"works\n"
        await eventually(lambda: len(cramped_server.descendants()) == IDLE_PROCESSES)
        before = supervisor.num_fds()
        await admin.run("true")
        await eventually(lambda: supervisor.num_fds() == before)
    assert cramped_server.job_cgroups() == []
    assert not cramped_server.has_event("fault")


def _jobs_that_fit(server: Server) -> int:
    """Return the number of jobs that fit, as the server logs it at its start."""
    (reason,) = (event["reason"] for event in server.events() if event["event"] == "too few open files")
    fitting = re.search(r"the limit of 256 is enough for about (\d+) jobs;", reason)
    assert fitting
    return int(fitting[1])


async def _fill(admin: Client) -> list[str]:
    """Create jobs until the server refuses one, and return their ids."""
    ids: list[str] = []
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
        for _ in range(FEW_DESCRIPTORS):
            ids.append((await admin.create("sleep", "300")).id)  # noqa: PERF401 - those until the error count
    assert refusal.reason == "HOST_EXHAUSTED"
    return ids


async def test_a_full_server_shuts_down_in_order(cramped_server: Server) -> None:
    assert cramped_server.process
    async with client(cramped_server, "admin") as admin:
        await _fill(admin)
        children = cramped_server.descendants()
    cramped_server.process.send_signal(signal.SIGTERM)
    assert cramped_server.stop() == 0
    assert not cramped_server.has_event("jobs did not end")
    alive = still_alive(children)
    assert alive == []
    assert cramped_server.cgroup_base is None or not cramped_server.cgroup_base.exists()


@pytest.fixture
def server_of_one_user(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server whose API process runs as the tests' user, so that they may change its limits."""
    user = {"JOBWORKERD_API_USER": "root"} if os.geteuid() == 0 else {}
    with Server.started(BIN, certs, tmp_path / "state", **user) as started:
        yield started


async def test_a_reader_is_refused_while_the_api_has_no_descriptors(server_of_one_user: Server) -> None:
    async with client(server_of_one_user, "admin") as admin:
        job = await admin.ended((await admin.create("echo", "works")).id)  # no cache has its output
        (api,) = server_of_one_user.api_processes()
        soft, hard = api.rlimit(psutil.RLIMIT_NOFILE)
        api.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
        async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
            await admin.stream(job.id)
        assert refusal.reason == "HOST_EXHAUSTED"
        assert "Too many open files" in refusal.message
        api.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
        assert (await admin.stream(job.id)).bytes() == b"works\n"
    assert not server_of_one_user.has_event("bug")
