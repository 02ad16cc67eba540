"""Check that jobs keep their output, exit code and limits through kills of the supervisor and reloads."""

from pathlib import Path

from restarts import following, kill_supervisor, lasting_client, reload

from jobworker.v1 import job_pb2
from live import GUEST, SLOW, Server

RESTARTS = 4 if SLOW else 20
"""Half of them kill the supervisor, and half of them are reloads."""
COUNTER = 'i=0; while [ ! -e "$0" ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo end $i; exit 7'
LIMITS = ("cpu.max", "cpu.weight", "memory.max", "memory.high", "memory.swap.max", "pids.max", "io.max")


def limit_files(server: Server, job: job_pb2.Job) -> dict[str, str]:
    """Return the control files of a running job that the host has."""
    if not server.cgroup_base:
        return {}
    paths = (server.cgroup_of(job) / name for name in LIMITS)
    found = {path.name: path.read_text() for path in paths if path.exists()}
    assert found or not GUEST
    return found


async def test_a_counter_survives_kills_and_reloads(own_server: Server, job_files: Path) -> None:
    stop = job_files / "stop"
    async with lasting_client(own_server) as admin:
        limits = {"max_memory": 48, "max_cpu": 150, "max_pids": 20, "cpu_weight": 300}
        job = await admin.create("sh", "-c", COUNTER, str(stop), **limits)
        before = limit_files(own_server, job)
        with following(admin, job.id) as follower:
            for number in range(RESTARTS):
                await (reload if number % 2 else kill_supervisor)(own_server)
                seen = await admin.get(job.id)
                assert (seen.status, seen.pid) == (job_pb2.JOB_STATUS_RUNNING, job.pid)
                assert seen.start_time == job.start_time
                assert limit_files(own_server, job) == before
                await follower.grew()
            stop.touch()
            result = await follower.ended()
            again = await admin.stream(job.id)
    lines = follower.output.decode().splitlines()
    assert lines == [*map(str, range(1, len(lines))), f"end {len(lines) - 1}"]
    assert again.bytes() == follower.output
    assert (result.status, result.exit_code) == (job_pb2.JOB_STATUS_FAILED, 7)
    assert result.termination.reason == job_pb2.TERMINATION_REASON_EXITED
    assert result.log_size == len(follower.output)
    assert follower.calls > 1


async def test_updated_limits_stay_and_can_change_again(own_server: Server) -> None:
    async with lasting_client(own_server) as admin:
        job = await admin.create("sleep", "1000", max_cpu=100, max_memory=64)
        await admin.update(job.id, max_cpu=50, max_memory=80)
        updated = limit_files(own_server, job)
        for restart, limits in ((kill_supervisor, {"max_cpu": 70}), (reload, {"max_memory": 96})):
            await restart(own_server)
            before = await admin.get(job.id)
            assert limit_files(own_server, job) == updated
            assert (before.max_cpu, before.max_memory) in {(50, 80), (70, 80)}
            await admin.update(job.id, **limits)
            updated = limit_files(own_server, job)
        after = await admin.get(job.id)
        assert (after.max_cpu, after.max_memory) == (70, 96)
        if GUEST:
            assert updated["cpu.max"].split() == ["70000", "100000"]
            assert int(updated["memory.max"]) == 96 << 20
