"""Check that a killed server leaves no process and no cgroup, and that lost jobs have their usage."""

from pathlib import Path

import psutil
import pytest
from conftest import BIN
from restarts import crash, keeper, supervisor

from jobworker.v1 import job_pb2
from live import Server, eventually
from live_client import client


@pytest.mark.cgroup
async def test_a_lost_job_leaves_no_process_and_no_cgroup_and_has_its_usage(own_server: Server) -> None:
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", "setsid sleep 1000 & while :; do :; done", max_cpu=100)
        cgroup = own_server.cgroup_of(job)
        await eventually(lambda: len((cgroup / "cgroup.procs").read_text().split()) >= 2)
        await eventually(lambda: "usage_usec 0" not in (cgroup / "cpu.stat").read_text())
        processes = [psutil.Process(int(pid)) for pid in (cgroup / "cgroup.procs").read_text().split()]
    crash(own_server, keeper(own_server))
    own_server.launch()
    assert not cgroup.exists()
    assert not any(is_alive(process) for process in processes)
    async with client(own_server, "admin") as admin:
        lost = await admin.get(job.id)
        assert lost.status == job_pb2.JOB_STATUS_LOST
        assert lost.usage.cpu_user_usec > 0
        assert lost.usage.memory_peak_bytes > 0


@pytest.mark.root
@pytest.mark.cgroup
async def test_a_killed_server_leaves_nothing_in_the_base_of_its_former_setting(
    certs: Path, tmp_path: Path
) -> None:
    """Without a PID namespace, a process of a job can outlive the main process of the server."""
    settings = {"JOBWORKERD_ISOLATION_PID_NAMESPACE": "false"}
    with Server.started(BIN, certs, tmp_path / "state", **settings) as server:
        async with client(server, "admin") as admin:
            job = await admin.create("sh", "-c", "sleep 1000 & wait")
            cgroup = server.cgroup_of(job)
            await eventually(lambda: len((cgroup / "cgroup.procs").read_text().split()) == 2)
            processes = [psutil.Process(int(pid)) for pid in (cgroup / "cgroup.procs").read_text().split()]
        former = server.cgroup_base
        assert former
        other_job = former / "jobs" / f"{job.id[:-4]}0000"
        other_job.mkdir()
        crash(server, keeper(server), supervisor(server))
        assert all(process.is_running() for process in processes)
        server.change_cgroup_base()
        server.launch()
        assert not any(is_alive(process) for process in processes)
        assert [entry.name for entry in (former / "jobs").iterdir() if entry.is_dir()] == [other_job.name]
        async with client(server, "admin") as admin:
            assert (await admin.get(job.id)).status == job_pb2.JOB_STATUS_LOST
        other_job.rmdir()


@pytest.mark.root
@pytest.mark.cgroup
async def test_the_base_of_a_former_setting_is_removed(own_server: Server) -> None:
    async with client(own_server, "admin") as admin:
        await admin.create("sleep", "1000")
    former = own_server.cgroup_base
    assert former
    crash(own_server, keeper(own_server), supervisor(own_server))
    own_server.change_cgroup_base()
    own_server.launch()
    assert not former.exists()


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
