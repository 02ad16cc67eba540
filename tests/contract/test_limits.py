"""Check limits from inside the job and in its record. These tests need a live cgroup v2."""

import asyncio
import os
from pathlib import Path

import grpc
import pytest
from applied import limit_name, reasons
from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, mounted
from live_client import Client, refused

NO_CPUSET = "this kernel has no cpuset controller for cgroup v2; boot a kernel with it"

HAS_PSI = Path("/proc/pressure").is_dir()

OWN_CGROUP = "cd /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)"


def has_cpuset() -> bool:
    """Return whether the kernel offers the cpuset controller."""
    mount = mounted("/")
    return mount is not None and "cpuset" in (mount / "cgroup.controllers").read_text().split()


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
    assert {limit_name(limit): limit.in_force for limit in job.applied_limits} == {
        "max_cpu": True,
        "max_memory": True,
        "max_pids": True,
        "containment": True,
    }


@pytest.mark.root
async def test_a_job_cannot_change_its_cgroup(admin: Client) -> None:
    script = """
    find /sys/fs/cgroup -name cgroup.procs -writable 2>/dev/null
    own=$(sed -n 's/^0:://p' /proc/self/cgroup)
    for base in /sys/fs/cgroup /sys/fs/cgroup/unified; do
      for pair in "cgroup.procs 0" "memory.max max" "cpu.max max" "pids.max max"; do
        (echo ${pair#* } >$base$own/${pair% *}) && echo WROTE
      done
      mkdir $base$own/below && echo WROTE
    done"""
    _, attempts = await admin.run("sh", "-c", f"exec 2>&1; {script}")
    output = attempts.decode()
    assert "WROTE" not in output
    assert "cgroup.procs\n" not in output.replace("cannot", "")


@pytest.mark.cgroup
async def test_defaults_match_the_design_document(admin: Client) -> None:
    # Builtins only: 1 MiB has no room for a second process.
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
@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (("ls", "-la", "/tmp"), b"total 0"),
        (("bash", "-c", "for i in {1..10}; do echo $i; done"), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"),
        (("/bin/sh", "-c", "echo 'POSIX shell'"), b"POSIX shell\n"),
    ],
)
async def test_examples_of_the_design_document_run_with_its_defaults(
    admin: Client, argv: tuple[str, ...], output: bytes
) -> None:
    job, found = await admin.run(*argv, max_cpu=0, max_memory=0)
    assert (job.max_memory, job.exit_code) == (1, 0)
    assert found.startswith(output)
    assert all(limit.in_force for limit in job.applied_limits)


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
async def test_pids_limit_contains_a_fork_bomb(admin: Client) -> None:
    script = "i=0; while [ $i -lt 50 ]; do sleep 100 & i=$((i+1)); done; wait"
    job, output = await admin.run("sh", "-c", script, max_pids=10, timeout=duration_pb2.Duration(seconds=20))
    assert b"fork" in output
    assert job.usage.pids_denied_count > 0
    assert "; the kernel denied " in job.termination.message
    assert job.termination.message.endswith(" (max_pids: 10)")
    assert job.usage.pids_peak_count <= 10 or not job.usage.HasField("pids_peak_count")
    assert job.termination.leftovers_killed


@pytest.mark.cgroup
async def test_fork_bomb_is_stopped_in_bounded_time(admin: Client, server: Server) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; while :; do :; done"
    job = await admin.create("bash", "-c", bomb, max_pids=32, max_cpu=50)
    async with asyncio.timeout(60):
        while (await admin.get(job.id)).usage.pids_peak_count < 32:
            pass
    ended = await admin.stop(job.id, seconds=0)
    assert ended.status == job_pb2.JOB_STATUS_STOPPED
    assert ended.usage.pids_peak_count == 32
    assert job.id not in server.job_cgroups()


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
    assert next(limit for limit in job.applied_limits if limit_name(limit) == "max_io_bps").in_force


@pytest.mark.cgroup
async def test_io_limit_on_a_tmpfs_is_reported_as_not_in_force(admin: Client) -> None:
    job, _ = await admin.run("true", working_directory="/dev/shm", max_io_bps=1 << 20)
    limit = next(limit for limit in job.applied_limits if limit_name(limit) == "max_io_bps")
    assert not limit.in_force
    assert "tmpfs" in limit.reason


@pytest.mark.cgroup
async def test_io_operations_and_bytes_are_limited_together(admin: Client) -> None:
    disk = os.environ.get("IN_GUEST_DISK", "/")
    job, output = await admin.run(
        "sh", "-c", f"{OWN_CGROUP}; cat io.max", working_directory=disk, max_io_bps=1 << 20, max_io_iops=500
    )
    assert b"rbps=1048576 wbps=1048576 riops=500 wiops=500" in output
    assert reasons(job)["max_io_bps"] == reasons(job)["max_io_iops"] == ""
    assert job.max_io_iops == 500


@pytest.mark.cgroup
async def test_weight_is_in_the_jobs_own_cgroup(admin: Client) -> None:
    starts = "until [ $(cat cpu.weight) != 10000 ]; do :; done"  # every job starts with weight 10000
    job, output = await admin.run("sh", "-c", f"{OWN_CGROUP}; {starts}; cat cpu.weight", cpu_weight=250)
    assert output == b"250\n"
    assert reasons(job)["cpu_weight"] == ""
    assert job.cpu_weight == 250


@pytest.mark.cgroup
async def test_cpu_set_is_in_force_or_the_kernel_lacks_cpuset(admin: Client) -> None:
    """A single-core kernel (user-mode-linux) has no cpuset controller."""
    script = "sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status"
    job, output = await admin.run("sh", "-c", script, cpu_set="0")
    assert output == b"0\n"
    assert job.cpu_set == "0"
    assert reasons(job)["cpu_set"] == ("" if has_cpuset() else NO_CPUSET)


@pytest.mark.cgroup
async def test_cores_that_the_host_lacks_are_reported(admin: Client, server: Server) -> None:
    job, _ = await admin.run("true", cpu_set="0,8000")
    why = reasons(job)["cpu_set"]
    assert job.cpu_set == "0,8000"
    assert why.startswith("cores 8000 are not available; use some of ") if has_cpuset() else why == NO_CPUSET
    warned = [event for event in server.events() if event["event"] == "limits not in force"]
    assert [event for event in warned if event["job_id"] == job.id and why in str(event["limits"])]
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.create("true", cpu_set="8000", limits_policy=job_pb2.LIMITS_POLICY_STRICT)
    assert refusal.reason == "LIMIT_UNAVAILABLE"
    assert why.partition(";")[0].partition(" and ")[0] in refusal.message


@pytest.mark.cgroup
async def test_usage_of_a_running_job_is_current(admin: Client) -> None:
    job = await admin.create("sh", "-c", "while :; do :; done")
    try:
        first = (await admin.get(job.id)).usage
        assert 0 < first.memory_current_bytes <= 64 << 20
        async with asyncio.timeout(30):
            while (later := (await admin.get(job.id)).usage).cpu_user_usec == first.cpu_user_usec:
                pass
        assert later.wall_usec > first.wall_usec
        assert later.cpu_user_usec > first.cpu_user_usec
    finally:
        ended = await admin.stop(job.id)
    assert not ended.usage.HasField("memory_current_bytes")
    assert ended.usage.wall_usec >= later.wall_usec


@pytest.mark.cgroup
async def test_pressure_is_reported_if_the_kernel_measures_it(admin: Client) -> None:
    job, _ = await admin.run("true")
    measured = [job.usage.HasField("cpu_pressure_some_usec"), job.usage.HasField("io_pressure_some_usec")]
    assert measured == [HAS_PSI, HAS_PSI]


async def test_list_includes_usage_on_request(viewer: Client, admin: Client) -> None:
    job = await admin.create("sleep", "100")
    await admin.started(job.id)
    for live_usage in (True, False):
        request = job_service_pb2.ListJobsRequest(id_prefix=job.id, live_usage=live_usage)
        (listed,) = (await viewer.stub.ListJobs(request, timeout=30)).jobs
        assert listed.usage.HasField("wall_usec") == live_usage
    await admin.stop(job.id)


async def test_strict_policy_refuses_limits_that_cannot_be_enforced(admin: Client, server: Server) -> None:
    """A tmpfs has no block device, so this holds on every host."""
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.create(
            "true",
            working_directory="/dev/shm",
            max_io_bps=1 << 20,
            limits_policy=job_pb2.LIMITS_POLICY_STRICT,
        )
    assert refusal.reason == "LIMIT_UNAVAILABLE"
    assert server.address


async def test_each_limit_is_in_force_or_has_a_reason(admin: Client) -> None:
    """The same with and without controllers."""
    job, _ = await admin.run("true", max_pids=10)
    assert {limit_name(limit) for limit in job.applied_limits} == {
        "max_cpu",
        "max_memory",
        "max_pids",
        "containment",
    }
    assert all(limit.in_force == (not limit.reason) for limit in job.applied_limits)
