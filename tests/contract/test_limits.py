"""Check limits from inside the job and in its record. These tests need a live cgroup v2."""

import asyncio
import os
import signal
from pathlib import Path

import grpc
import pytest
from applied import limit_name
from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server, mounted
from live_client import Client, refused

HOG = "dd if=/dev/zero of=/dev/null bs=200M count=1"
"""Allocates in one system call: `memory.high` throttles a job that nears its limit in small steps."""

NO_CPUSET = "this kernel has no cpuset controller for cgroup v2; boot a kernel with it"
HAS_PSI = Path("/proc/pressure").is_dir()
OWN_CGROUP = "cd /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)"


def has_cpuset() -> bool:
    """Return whether the kernel offers the cpuset controller."""
    mount = mounted("/")
    return mount is not None and "cpuset" in (mount / "cgroup.controllers").read_text().split()


def in_force(job: job_pb2.Job) -> dict[str, str]:
    """Return the reason why each limit is not in force; an empty string if it is."""
    return {limit_name(limit): limit.reason for limit in job.applied_limits}


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
async def test_oom_kill_is_recorded_with_the_limit(admin: Client) -> None:
    hog = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo never"
    job, output = await admin.run("sh", "-c", hog, max_memory=16)
    assert b"never" not in output
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "16 MiB" in job.termination.message
    assert job.usage.oom_kill_count > 0
    assert job.termination.oom_killed
    assert not job.HasField("exit_code")


@pytest.mark.cgroup
async def test_oom_kill_in_a_grandchild_ends_the_whole_job(admin: Client) -> None:
    script = '(sh -c "$0"; sleep 100) & wait; echo never'
    job, output = await admin.run("sh", "-c", script, HOG, max_memory=16)
    assert b"never" not in output
    assert job.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED


@pytest.mark.cgroup
async def test_allocation_in_small_steps_ends_in_an_oom_kill(admin: Client, server: Server) -> None:
    script = "taken = []\nwhile True: taken.append(b'x' * (256 << 10))"
    job, _ = await admin.run("python3", "-c", script, max_memory=64)
    assert job.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "64 MiB" in job.termination.message
    assert job.usage.memory_high_count > 0
    assert job.HasField("memory_high_lift_time")
    for event in ("job near its memory limit", "memory.high lifted"):
        assert job.id in {each.get("job_id") for each in server.events() if each["event"] == event}


@pytest.mark.cgroup
async def test_oom_kill_of_one_job_leaves_the_other_running(admin: Client) -> None:
    other = await admin.create("sleep", "100", max_memory=16)
    hog, _ = await admin.run("sh", "-c", HOG, max_memory=16)
    assert hog.termination.oom_killed
    assert (await admin.get(other.id)).status == job_pb2.JOB_STATUS_RUNNING
    stopped = await admin.stop(other.id)
    assert not stopped.termination.oom_killed
    assert stopped.usage.oom_kill_count == 0


@pytest.mark.cgroup
async def test_oom_kill_of_a_child_of_a_job_that_exits_with_0(admin: Client, server: Server) -> None:
    """An administrator may clear memory.oom.group, so that the kernel kills one process only."""
    script = 'trap go=1 USR1; echo ready; while [ -z $go ]; do sleep 0.1; done; sh -c "$0"; exit 0'
    job = await admin.create("sh", "-c", script, HOG, max_memory=16)
    await admin.wrote(job.id, b"ready")
    (server.cgroup_of(job) / "memory.oom.group").write_text("0")
    os.kill(job.pid, signal.SIGUSR1)
    ended = await admin.ended(job.id)
    assert (ended.status, ended.exit_code) == (job_pb2.JOB_STATUS_COMPLETED, 0)
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    assert ended.termination.oom_killed
    assert ended.usage.oom_kill_count > 0


@pytest.mark.cgroup
async def test_memory_limit_below_what_the_command_needs(admin: Client) -> None:
    job, output = await admin.run("sh", "-c", f"exec {HOG}", max_memory=1)
    assert output == b""
    assert job.status == job_pb2.JOB_STATUS_FAILED
    assert job.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "1 MiB" in job.termination.message


@pytest.mark.cgroup
async def test_exit_code_137_is_not_an_oom_kill(admin: Client) -> None:
    job, _ = await admin.run("sh", "-c", "exit 137")
    assert job.exit_code == 137
    assert job.termination.reason == job_pb2.TERMINATION_REASON_EXITED


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
    assert in_force(job)["max_io_bps"] == in_force(job)["max_io_iops"] == ""
    assert job.max_io_iops == 500


@pytest.mark.cgroup
async def test_weight_is_in_the_jobs_own_cgroup(admin: Client) -> None:
    starts = "until [ $(cat cpu.weight) != 10000 ]; do :; done"  # every job starts with weight 10000
    job, output = await admin.run("sh", "-c", f"{OWN_CGROUP}; {starts}; cat cpu.weight", cpu_weight=250)
    assert output == b"250\n"
    assert in_force(job)["cpu_weight"] == ""
    assert job.cpu_weight == 250


@pytest.mark.cgroup
async def test_cpu_set_is_in_force_or_the_kernel_lacks_cpuset(admin: Client) -> None:
    """A single-core kernel (user-mode-linux) has no cpuset controller."""
    script = "sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status"
    job, output = await admin.run("sh", "-c", script, cpu_set="0")
    assert output == b"0\n"
    assert job.cpu_set == "0"
    assert in_force(job)["cpu_set"] == ("" if has_cpuset() else NO_CPUSET)


@pytest.mark.cgroup
async def test_cores_that_the_host_lacks_are_reported(admin: Client, server: Server) -> None:
    job, _ = await admin.run("true", cpu_set="0,8000")
    why = in_force(job)["cpu_set"]
    assert job.cpu_set == "0,8000"
    assert why.startswith("cores 8000 are not available; use some of ") if has_cpuset() else why == NO_CPUSET
    warned = [event for event in server.events() if event["event"] == "limits not in force"]
    assert [event for event in warned if event["job_id"] == job.id and why in str(event["limits"])]
    async with refused(grpc.StatusCode.FAILED_PRECONDITION) as refusal:
        await admin.create("true", cpu_set="8000", limits_policy=job_pb2.LIMITS_POLICY_STRICT)
    assert refusal.reason == "LIMIT_UNAVAILABLE"
    assert why.partition(";")[0].partition(" and ")[0] in refusal.message


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
        assert "changed pids.max from '20' to '30'" in in_force(limits)["max_pids"]
        assert in_force(limits)["max_memory"] == ""
    restored = await admin.update(job.id, max_pids=20)
    assert in_force(restored)["max_pids"] == ""
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
    assert "max_io_bps" not in in_force(updated)
    assert in_force(updated)["max_io_iops"] == ""
    await admin.stop(job.id)


@pytest.mark.cgroup
async def test_a_memory_limit_below_the_usage_ends_the_job(admin: Client) -> None:
    script = '$x = "x" x (40 << 20); $| = 1; print "ready\n"; while (1) { $y = $x . "y" }'
    job = await admin.create("perl", "-e", script, max_memory=128)
    await admin.wrote(job.id, b"ready")
    updated = await admin.update(job.id, max_memory=16)
    assert updated.max_memory == 16
    assert in_force(updated)["max_memory"] == ""
    ended = await admin.ended(job.id)
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "16 MiB" in ended.termination.message


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
    assert set(in_force(now)) == set(in_force(job))
    await admin.stop(job.id)


async def test_update_of_a_best_effort_job_records_what_is_not_in_force(admin: Client) -> None:
    """A tmpfs has no block device, so this holds on every host."""
    job = await admin.create("sleep", "100", working_directory="/dev/shm")
    updated = await admin.update(job.id, max_io_bps=1 << 20)
    assert updated.max_io_bps == 1 << 20
    assert in_force(updated)["max_io_bps"]
    assert in_force(await admin.get(job.id)) == in_force(updated)
    await admin.stop(job.id)


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
    """Holds with and without controllers."""
    job, _ = await admin.run("true", max_pids=10)
    assert {limit_name(limit) for limit in job.applied_limits} == {
        "max_cpu",
        "max_memory",
        "max_pids",
        "containment",
    }
    assert all(limit.in_force == (not limit.reason) for limit in job.applied_limits)
