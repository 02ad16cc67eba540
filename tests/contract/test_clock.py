"""Check jobs while the clock is stepped. These tests set the clock, so they run in a guest only."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from live import Server
from live_client import Client, client

pytestmark = pytest.mark.own_kernel

HOUR = 3_600


@contextlib.contextmanager
def clock_stepped(seconds: int) -> Iterator[None]:
    """Step the clock forward or back, and undo it at the end."""
    _step(seconds)
    try:
        yield
    finally:
        _step(-seconds)


def _step(seconds: int) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


async def test_forward_step_ends_neither_a_timeout_nor_a_grace_period(admin: Client) -> None:
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    patient = {
        "timeout": duration_pb2.Duration(seconds=HOUR // 2),
        "stop_grace_period": duration_pb2.Duration(seconds=HOUR // 2),
    }
    job = await admin.create("sh", "-c", script, **patient)
    await admin.wrote(job.id, b"ready")
    with clock_stepped(HOUR):
        other, output = await admin.run("echo", "meanwhile")
        assert output == b"meanwhile\n"
        assert other.create_time.seconds >= job.create_time.seconds + HOUR
        seen = await admin.get(job.id)
        assert seen.status == job_pb2.JOB_STATUS_RUNNING
        stopped = await admin.stop(job.id)
    assert stopped.status == job_pb2.JOB_STATUS_STOPPED
    assert stopped.exit_code == 3
    assert stopped.end_time.seconds >= stopped.start_time.seconds + HOUR
    assert 0 < stopped.usage.wall_usec < HOUR // 2 * 10**6


async def test_backward_step_delays_no_timeout_and_keeps_times_ordered(admin: Client) -> None:
    job = await admin.create("sleep", "1000", timeout=duration_pb2.Duration(seconds=1))
    with clock_stepped(-HOUR):
        ended = await admin.ended(job.id)
        later, _ = await admin.run("true")
    assert ended.termination.reason == job_pb2.TERMINATION_REASON_TIMED_OUT
    assert ended.usage.wall_usec >= 10**6
    for each in (ended, later):
        times = (each.create_time, each.start_time, each.end_time)
        assert list(times) == sorted(times, key=lambda time: time.ToNanoseconds())
    assert later.create_time.seconds < job.create_time.seconds
    assert later.id > job.id


async def test_history_keeps_its_order_after_a_backward_step_and_a_restart(own_server: Server) -> None:
    # The clock is ahead first, because certificates are not valid before their creation.
    with clock_stepped(HOUR):
        async with client(own_server, "admin") as admin:
            before, _ = await admin.run("true")
    assert own_server.stop() == 0
    own_server.launch()
    async with client(own_server, "admin") as admin:
        after, _ = await admin.run("true")
        running = await admin.create("sleep", "1000")
        request = job_service_pb2.ListJobsRequest()
        listed = (await admin.stub.ListJobs(request)).jobs
        assert [job.id for job in listed] == [running.id, after.id, before.id]
        request = job_service_pb2.ListJobsRequest(created_before=before.create_time)
        listed = (await admin.stub.ListJobs(request)).jobs
        assert [job.id for job in listed] == [running.id, after.id]
        await admin.stop(running.id)
    assert after.create_time.seconds < before.create_time.seconds
    assert after.id > before.id


async def test_output_across_a_step_is_complete_and_ordered(admin: Client) -> None:
    script = "for i in $(seq 40); do echo $i; sleep 0.05; done"
    job = await admin.create("sh", "-c", script)
    expected = b"".join(b"%d\n" % number for number in range(1, 41))
    with clock_stepped(-HOUR):
        follower = await admin.stream(job.id)
    assert follower.bytes() == expected
    assert (await admin.stream(job.id)).bytes() == expected
