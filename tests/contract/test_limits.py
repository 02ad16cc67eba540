"""Limits, seen from inside the job and from its record. They need a live cgroup v2."""

import os

import grpc
import pytest
from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2
from live import Client, Server, mounted, refused

OWN_CGROUP = "cd /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)"


@pytest.mark.cgroup
async def test_this_host_has_every_controller() -> None:
    mount = mounted("/")
    assert mount
    assert {"cpu", "memory", "io", "pids"} <= set((mount / "cgroup.controllers").read_text().split())


@pytest.mark.cgroup
async def test_limits_are_in_the_jobs_own_cgroup(admin: Client) -> None:
    script = f"{OWN_CGROUP}; cat cpu.max memory.max memory.high memory.oom.group pids.max"
    job, output = await admin.run("sh", "-c", script, max_cpu=25, max_memory=64, max_pids=32)
    high = (64 << 20) * 9 // 10 // 4096 * 4096
    assert output.decode().splitlines() == ["25000 100000", str(64 << 20), str(high), "1", "32"]
    assert {limit.limit: limit.in_force for limit in job.limits_applied} == {
        "max_cpu": True,
        "max_memory": True,
        "max_pids": True,
        "containment": True,
    }


@pytest.mark.cgroup
async def test_defaults_are_the_design_documents(admin: Client) -> None:
    # Builtins only: under 1 MiB there is no room for a second process.
    script = """
    while IFS= read -r line; do
      case $line in 0::*) cd "/sys/fs/cgroup${line#0::}" ;; esac
    done < /proc/self/cgroup
    read -r cpu < cpu.max; read -r memory < memory.max; echo "$cpu $memory"
    """
    job, output = await admin.run("bash", "-c", script, max_cpu=0, max_memory=0)
    assert output == b"10000 100000 1048576\n"
    assert (job.max_cpu, job.max_memory, job.max_io_bps) == (10, 1, 0)


@pytest.mark.cgroup
async def test_busy_loop_is_throttled(admin: Client) -> None:
    timeout = duration_pb2.Duration(seconds=2)
    job, _ = await admin.run("sh", "-c", "while :; do :; done", max_cpu=20, timeout=timeout)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT
    wall = job.end_time.ToMicroseconds() - job.start_time.ToMicroseconds()
    used = job.usage.cpu_user_usec + job.usage.cpu_system_usec
    assert used < wall * 0.4
    assert job.usage.cpu_throttled_usec > 0


@pytest.mark.cgroup
async def test_hog_is_killed_and_the_record_names_the_limit(admin: Client) -> None:
    hog = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo never"
    job, output = await admin.run("sh", "-c", hog, max_memory=16)
    assert b"never" not in output
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "16 MiB" in job.termination.message
    assert job.usage.oom_kill_count > 0
    assert not job.HasField("exit_code")


@pytest.mark.cgroup
async def test_exit_137_is_no_oom_kill(admin: Client) -> None:
    job, _ = await admin.run("sh", "-c", "exit 137")
    assert job.exit_code == 137
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EXITED


@pytest.mark.cgroup
async def test_fork_bomb_is_held_by_the_pids_limit(admin: Client) -> None:
    script = "i=0; while [ $i -lt 50 ]; do sleep 100 & i=$((i+1)); done; wait"
    job, output = await admin.run("sh", "-c", script, max_pids=10, timeout=duration_pb2.Duration(seconds=20))
    assert b"fork" in output
    assert job.usage.pids_peak_count <= 10 or not job.usage.HasField("pids_peak_count")
    assert job.termination.leftovers_killed


@pytest.mark.cgroup
async def test_io_limit_is_on_the_disk_under_the_working_directory(admin: Client) -> None:
    disk = os.environ.get("IN_GUEST_DISK", "/")
    device = os.stat(disk).st_dev  # noqa: PTH116 - a local disk, in a test
    job, output = await admin.run(
        "sh", "-c", f"{OWN_CGROUP}; cat io.max", working_directory=disk, max_io_bps=1 << 20
    )
    assert (
        f"{os.major(device)}:{os.minor(device)} " in output.decode() or os.environ.get("IN_GUEST") == "host"
    )
    assert b"rbps=1048576 wbps=1048576" in output
    assert next(limit for limit in job.limits_applied if limit.limit == "max_io_bps").in_force


@pytest.mark.cgroup
async def test_io_limit_on_a_tmpfs_is_reported_as_not_in_force(admin: Client) -> None:
    job, _ = await admin.run("true", working_directory="/dev/shm", max_io_bps=1 << 20)
    limit = next(limit for limit in job.limits_applied if limit.limit == "max_io_bps")
    assert not limit.in_force
    assert "tmpfs" in limit.reason


async def test_strict_refuses_what_cannot_be_enforced(admin: Client, server: Server) -> None:
    """A tmpfs is no disk, so this holds on every host."""
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.create(
            "true",
            working_directory="/dev/shm",
            max_io_bps=1 << 20,
            limits_policy=job_pb2.LIMITS_POLICY_STRICT,
        )
    assert refusal.reason == "LIMIT_UNAVAILABLE"
    assert server.address


async def test_each_limit_says_whether_it_is_in_force(admin: Client) -> None:
    """Holds with and without controllers: a limit is in force, or it has a reason."""
    job, _ = await admin.run("true", max_pids=10)
    assert {limit.limit for limit in job.limits_applied} == {
        "max_cpu",
        "max_memory",
        "max_pids",
        "containment",
    }
    assert all(limit.in_force == (not limit.reason) for limit in job.limits_applied)
