"""Check memory limits and OOM kills. These tests need a live cgroup v2."""

import os
import signal

import pytest
from applied import reasons

from jobworker.v1 import job_pb2
from live import Server
from live_client import HOG, Client


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
async def test_a_memory_limit_below_the_usage_ends_the_job(admin: Client) -> None:
    script = '$x = "x" x (40 << 20); $| = 1; print "ready\n"; while (1) { $y = $x . "y" }'
    job = await admin.create("perl", "-e", script, max_memory=128)
    await admin.wrote(job.id, b"ready")
    updated = await admin.update(job.id, max_memory=16)
    assert updated.max_memory == 16
    assert reasons(updated)["max_memory"] == ""
    ended = await admin.ended(job.id)
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_OOM_KILLED
    assert "16 MiB" in ended.termination.message
