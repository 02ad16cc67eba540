"""Check that output and results are complete although no supervisor reads them for a while."""

import os
import signal
from pathlib import Path

import psutil
from restarts import following, kill_supervisor, lasting_client, reload, without_supervisor

from jobworker.v1 import job_output_pb2, job_pb2
from live import SLOW, Server, eventually

WAIT = 'until [ -e "$0" ]; do sleep 0.02; done; '
LINES = 600_000
PIECES = 16 if SLOW else 48
PIECE_BYTES = 1 << 20
TURNS = 60 if SLOW else 300


def is_zombie(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_a_job_that_ends_while_no_supervisor_runs_keeps_its_output_and_result(
    own_server: Server, job_files: Path
) -> None:
    start = job_files / "start"
    async with lasting_client(own_server) as admin:
        exits = await admin.create("sh", "-c", WAIT + "echo out; echo err >&2; exit 7", str(start))
        killed = await admin.create("sh", "-c", WAIT + "echo killed; kill -USR1 $$", str(start))
        with without_supervisor(own_server):
            start.touch()
            await eventually(lambda: is_zombie(exits.pid) and is_zombie(killed.pid))
        result, signaled = await admin.ended(exits.id), await admin.ended(killed.id)
        output = await admin.stream(exits.id)
        assert (await admin.stream(killed.id)).bytes() == b"killed\n"
    assert (result.status, result.exit_code) == (job_pb2.JOB_STATUS_FAILED, 7)
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDOUT) == b"out\n"
    assert output.bytes(job_output_pb2.OUTPUT_SOURCE_STDERR) == b"err\n"
    assert signaled.termination.reason == job_pb2.TERMINATION_REASON_SIGNALED
    assert signaled.termination.signal == signal.SIGUSR1


async def test_a_job_waits_with_a_full_pipe_until_a_supervisor_reads_it(
    own_server: Server, job_files: Path
) -> None:
    start = job_files / "start"
    expected = b"".join(b"%d\n" % number for number in range(1, LINES + 1))
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", WAIT + f"seq 1 {LINES}; exit 5", str(start))
        with following(admin, job.id) as follower:
            with without_supervisor(own_server):
                start.touch()
                await eventually(lambda: _waits_for_a_pipe(job.pid))
            result = await follower.ended()
            assert (await admin.stream(job.id)).bytes() == expected
    assert follower.output == expected
    assert result.exit_code == 5


def _waits_for_a_pipe(pid: int) -> bool:
    """Return whether a child of the process sleeps and wrote more than a pipe of 1 MiB holds."""
    for child in psutil.Process(pid).children():
        if child.name() == "seq" and child.status() == psutil.STATUS_SLEEPING:
            return child.io_counters().write_chars >= 1 << 20
    return False


async def test_binary_output_is_the_same_byte_for_byte(own_server: Server, job_files: Path) -> None:
    source = job_files / "source"
    source.write_bytes(os.urandom(PIECES * PIECE_BYTES))
    script = (
        f'i=0; while [ $i -lt {PIECES} ]; do dd if="$0" bs={PIECE_BYTES} skip=$i count=1 status=none; '
        "i=$((i+1)); sleep 0.05; done"
    )
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", script, str(source))
        with following(admin, job.id) as follower:
            for restart in (kill_supervisor, reload, kill_supervisor, kill_supervisor):
                if (await admin.get(job.id)).status == job_pb2.JOB_STATUS_RUNNING:
                    await restart(own_server)
            result = await follower.ended()
            expected = source.read_bytes()
            assert follower.output == expected
            assert (await admin.stream(job.id)).bytes() == expected
    assert (result.exit_code, result.log_size) == (0, len(expected))


async def test_each_line_keeps_its_source(own_server: Server) -> None:
    script = f"i=0; while [ $i -lt {TURNS} ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.01; done"
    async with lasting_client(own_server) as admin:
        job = await admin.create("sh", "-c", script)
        with following(admin, job.id) as follower:
            for restart in (kill_supervisor, reload, kill_supervisor):
                await admin.get(job.id)
                await restart(own_server)
            await follower.ended()
            for kind, name in (
                (job_output_pb2.OUTPUT_SOURCE_STDOUT, "out"),
                (job_output_pb2.OUTPUT_SOURCE_STDERR, "err"),
            ):
                expected = "".join(f"{name} {number}\n" for number in range(1, TURNS + 1)).encode()
                assert follower.by_source[kind] == expected
                assert (await admin.stream(job.id, source=kind)).bytes() == expected
