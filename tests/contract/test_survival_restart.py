"""Check that a start after a crash records running jobs as LOST, and that no resource of a job remains."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import BIN
from restarts import crash, keeper, lasting_client, supervisor

from jobworker.v1 import job_output_pb2, job_pb2
from live import GUEST, Server, arguments, still_alive

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BUSY = "echo before; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 1000"
WITHOUT_PID_NAMESPACE = {"JOBWORKERD_ISOLATION_PID_NAMESPACE": "false"}

Parts = Callable[[Server], list[psutil.Process]]
"""Returns the processes to kill."""


def only_the_keeper(server: Server) -> list[psutil.Process]:
    return [keeper(server)]


def keeper_and_supervisor(server: Server) -> list[psutil.Process]:
    return [keeper(server), supervisor(server)]


def all_of_the_server(server: Server) -> list[psutil.Process]:
    """Return all processes that run the server's code, as for a crash of the host."""
    family = [keeper(server), *server.descendants()]
    return [each for each in family if any("jobworkerd" in part for part in arguments(each))]


@pytest.mark.root
@pytest.mark.parametrize("parts", [only_the_keeper, keeper_and_supervisor, all_of_the_server])
async def test_a_crash_loses_running_jobs_and_nothing_else(own_server: Server, parts: Parts) -> None:
    mounts, others = _mounts(), _inits() - {each.pid for each in own_server.descendants()}
    async with lasting_client(own_server) as admin:
        ended, output = await admin.run("echo", "ended")
        jobs = [await admin.create("sh", "-c", BUSY, request_id=f"busy {number}") for number in range(2)]
        for job in jobs:
            await admin.wrote(job.id, b"ready\n")
    family = own_server.descendants()
    crash(own_server, *parts(own_server))
    alive = still_alive(family)
    assert alive == [], "all processes end with the keeper"
    own_server.launch()
    async with lasting_client(own_server) as admin:
        for job in jobs:
            lost = await admin.get(job.id)
            _check_lost(lost)
            assert (await admin.create("sh", "-c", BUSY, request_id=_request_id(jobs, job))).id == job.id
            read = await admin.stream(job.id)
            assert (read.bytes(), read.result) == (b"before\nready\n", lost)
            assert await admin.ended(job.id) == lost
            assert await admin.stop(job.id) == lost
        assert await admin.get(ended.id) == ended
        assert (await admin.stream(ended.id)).bytes() == output
        assert {job.id for job in await admin.list()} == {ended.id, *(job.id for job in jobs)}
        assert own_server.job_cgroups() == []
        assert _job_directories(own_server) == {ended.id, *(job.id for job in jobs)}
        assert (await admin.run("echo", "works"))[1] == b"works\n"
    family = own_server.descendants()
    assert own_server.stop() == 0
    assert still_alive(family) == []
    assert own_server.cgroup_base is None or not own_server.cgroup_base.exists()
    # On a host, other servers start inits and other programs mount file systems during the test.
    assert not GUEST or _inits() <= others
    assert not GUEST or _mounts() == mounts


def _request_id(jobs: list[job_pb2.Job], job: job_pb2.Job) -> str:
    return f"busy {jobs.index(job)}"


def _check_lost(lost: job_pb2.Job) -> None:
    assert lost.status == job_pb2.JOB_STATUS_LOST
    assert lost.termination.reason == job_pb2.TERMINATION_REASON_LOST
    assert re.search(r"\b(keeper|server) was killed\b", lost.termination.message), lost.termination.message
    assert not lost.HasField("exit_code")
    assert lost.pid == 0
    assert lost.end_time.ToNanoseconds() >= lost.start_time.ToNanoseconds()
    assert lost.log_size == len(b"before\nready\n")
    if GUEST:
        assert lost.usage.cpu_user_usec + lost.usage.cpu_system_usec > 0


def _inits() -> set[int]:
    found = subprocess.run(["pgrep", "-f", "sleep infinity"], capture_output=True, text=True, check=False)
    return {int(pid) for pid in found.stdout.split()}


def _mounts() -> list[str]:
    return sorted(line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _job_directories(server: Server) -> set[str]:
    assert server.state
    return {each.name for each in (server.state / "state/jobs").rglob("*") if JOB_ID.fullmatch(each.name)}


@pytest.mark.root
async def test_the_next_start_kills_jobs_that_outlived_the_server(certs: Path, tmp_path: Path) -> None:
    """Without a PID namespace no init ends the job's processes, so only the next start can."""
    with Server.started(BIN, certs, tmp_path / "state", **WITHOUT_PID_NAMESPACE) as server:
        async with lasting_client(server) as admin:
            job = await admin.create("sh", "-c", "sleep 1000 & echo ready; wait")
            await admin.wrote(job.id, b"ready\n")
        processes = [*psutil.Process(job.pid).children(), psutil.Process(job.pid)]
        crash(server, *keeper_and_supervisor(server))
        server.launch()
        assert still_alive(processes) == []
        async with lasting_client(server) as admin:
            assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_LOST
        assert server.job_cgroups() == []
