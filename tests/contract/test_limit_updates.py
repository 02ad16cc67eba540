"""Check changes of the limits of running jobs. These tests need a live cgroup v2."""

import os
import signal

import grpc
import pytest
from applied import limit_name, reasons

from jobworker.v1 import job_pb2
from live import Server
from live_client import HOG, Client, refused


@pytest.mark.cgroup
async def test_update_changes_the_limits_in_the_kernel(admin: Client, server: Server) -> None:
    job = await admin.create("sleep", "100", max_memory=64, max_pids=20, max_cpu=50)
    updated = await admin.update(job.id, max_memory=128, max_pids=10, cpu_weight=300)
    cgroup = server.cgroup_of(job)
    files = ("cpu.max", "memory.max", "pids.max", "cpu.weight")
    values = [(cgroup / file).read_text().strip() for file in files]
    assert values == ["50000 100000", str(128 << 20), "10", "300"]
    assert (updated.max_memory, updated.max_pids, updated.cpu_weight, updated.max_cpu) == (128, 10, 300, 50)
    assert {limit.file: limit.value for limit in updated.applied_limits if limit.value} == dict(
        zip(files, values, strict=True)
    )
    assert (await admin.stop(job.id)).max_memory == 128
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.update(job.id, max_memory=64)
    assert refusal.reason == "JOB_NOT_RUNNING"


@pytest.mark.cgroup
async def test_a_limit_changed_by_another_process_is_reported(admin: Client, server: Server) -> None:
    script = "trap go=1 USR1; echo ready; while [ -z $go ]; do sleep 0.1; done; exec $0"
    job = await admin.create("sh", "-c", script, HOG, max_memory=64, max_pids=20)
    await admin.wrote(job.id, b"ready")
    cgroup = server.cgroup_of(job)
    (cgroup / "pids.max").write_text("30")
    for limits in ((await admin.get(job.id)), (await admin.update(job.id, cpu_weight=200))):
        assert "changed pids.max from '20' to '30'" in reasons(limits)["max_pids"]
        assert reasons(limits)["max_memory"] == ""
    restored = await admin.update(job.id, max_pids=20)
    assert reasons(restored)["max_pids"] == ""
    (cgroup / "memory.high").write_text("max")
    (cgroup / "memory.max").write_text(str(24 << 20))
    os.kill(job.pid, signal.SIGUSR1)
    ended = await admin.ended(job.id)
    assert "the memory limit of 24 MiB" in ended.termination.message
    assert {limit_name(limit): limit.value for limit in ended.applied_limits}["max_memory"] == str(24 << 20)


@pytest.mark.cgroup
async def test_update_lifts_a_limit(admin: Client, server: Server) -> None:
    disk = os.environ.get("IN_GUEST_DISK", "/")
    job = await admin.create("sleep", "100", working_directory=disk, max_io_bps=1 << 20, max_io_iops=500)
    updated = await admin.update(job.id, max_io_bps=0)
    assert "rbps=max wbps=max riops=500" in (server.cgroup_of(job) / "io.max").read_text()
    assert "max_io_bps" not in reasons(updated)
    assert reasons(updated)["max_io_iops"] == ""
    await admin.stop(job.id)


@pytest.mark.cgroup
async def test_update_of_a_strict_job_is_all_or_nothing(admin: Client, server: Server) -> None:
    job = await admin.create(
        "sleep",
        "100",
        working_directory="/dev/shm",
        max_pids=20,
        limits_policy=job_pb2.LIMITS_POLICY_STRICT,
    )
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.update(job.id, max_pids=10, max_io_bps=1 << 20)
    assert refusal.reason == "LIMIT_UNAVAILABLE"
    assert "tmpfs" in refusal.message
    assert (server.cgroup_of(job) / "pids.max").read_text() == "20\n"
    now = await admin.get(job.id)
    assert (now.max_pids, now.max_io_bps) == (20, 0)
    assert set(reasons(now)) == set(reasons(job))
    await admin.stop(job.id)


async def test_update_of_a_best_effort_job_records_what_is_not_in_force(admin: Client) -> None:
    """A tmpfs has no block device, so this holds on every host."""
    job = await admin.create("sleep", "100", working_directory="/dev/shm")
    await admin.started(job.id)
    updated = await admin.update(job.id, max_io_bps=1 << 20)
    assert updated.max_io_bps == 1 << 20
    assert reasons(updated)["max_io_bps"]
    assert reasons(await admin.get(job.id)) == reasons(updated)
    await admin.stop(job.id)
