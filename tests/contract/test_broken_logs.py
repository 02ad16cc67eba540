"""Check jobs and their logs on a disk that is full, read-only, broken, or was torn by a loss of power."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from conftest import BIN
from restarts import kill_supervisor, lasting_client

from jobworker.v1 import job_output_pb2, job_pb2
from live import Server
from live_client import Client, client, refused
from small_disk import small_disk

SIZE = 8 << 20
OUTPUT = b"".join(b"%015d\n" % number for number in range(1, SIZE // 16 + 1))
WRITER = (
    f"exec 2>&-; trap 'echo back; exit 4' TERM; seq -f %015.0f 1 {SIZE // 16}; while :; do sleep 0.05; done"
)
"""Fills a small disk, and writes again when it is stopped."""

TICKER = "exec 2>&-; trap 'echo end; exit 5' TERM; echo ready; while :; do sleep 0.05; done"


def jobs_dir(tmp_path: Path) -> Path:
    return tmp_path / "state/state/jobs"


async def refuses(admin: Client, message: str) -> None:
    """Check that a job is refused before it starts."""
    async with refused(grpc.StatusCode.RESOURCE_EXHAUSTED) as refusal:
        await admin.create("echo", "must not start")
    assert refusal.reason == "HOST_EXHAUSTED"
    assert message in refusal.message


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


@pytest.mark.root
@pytest.mark.parametrize("killed", [False, True], ids=["", "with a kill of the supervisor"])
async def test_a_full_disk_for_logs_and_its_recovery(certs: Path, tmp_path: Path, *, killed: bool) -> None:
    with small_disk(jobs_dir(tmp_path), "2m"), Server.started(BIN, certs, tmp_path / "state") as server:
        async with lasting_client(server) as admin:
            ticker = await admin.create("sh", "-c", TICKER)
            await admin.wrote(ticker.id, b"ready")
            writer = await admin.create("sh", "-c", WRITER)
            async with asyncio.timeout(60):
                while (await admin.get(writer.id)).log_size < SIZE:
                    await asyncio.sleep(0.05)
            if killed:
                await kill_supervisor(server)
                assert (await admin.get(writer.id)).log_size == SIZE
            for _ in range(2):
                await refuses(admin, "No space left on device")
            assert {entry.name for entry in jobs_dir(tmp_path).iterdir()} <= {ticker.id, writer.id, "next"}
            assert (await admin.get(ticker.id)).status == job_pb2.JOB_STATUS_RUNNING

            enlarge(jobs_dir(tmp_path))
            assert (await admin.run("echo", "again"))[1] == b"again\n"
            assert (await admin.stop(writer.id)).exit_code == 4
            assert (await admin.stop(ticker.id)).exit_code == 5
            output = await admin.stream(writer.id)
            assert (await admin.stream(ticker.id)).bytes() == b"ready\nend\n"
    lost = output.truncated[0].from_offset
    assert 1 << 20 < lost < 2 << 20
    assert output.truncated[-1].to_offset == SIZE
    assert "could not store" in output.truncated[0].reason
    assert output.bytes() == OUTPUT[:lost] + b"back\n"


@contextlib.contextmanager
def read_only(directory: Path, aside: Path) -> Iterator[None]:
    """Make a directory read-only for calls with its path. Open files stay writable.

    The mount is made read-only at `aside`: in its place, the server could have opened a file of it.
    """
    aside.mkdir()
    with bound(directory, aside):
        subprocess.run(["mount", "-o", "remount,bind,ro", aside], check=True)
        with bound(aside, directory):
            yield


@contextlib.contextmanager
def bound(source: Path, target: Path) -> Iterator[None]:
    """Mount a directory at another path, too."""
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.mark.root
async def test_a_read_only_directory_of_logs(certs: Path, tmp_path: Path) -> None:
    with Server.started(BIN, certs, tmp_path / "state") as server:
        async with client(server, "admin") as admin:
            ticker = await admin.create("sh", "-c", TICKER)
            await admin.wrote(ticker.id, b"ready")
            with read_only(jobs_dir(tmp_path), tmp_path / "aside"):
                for _ in range(2):
                    await refuses(admin, "Read-only file system")
                assert (await admin.stop(ticker.id)).exit_code == 5
                assert (await admin.stream(ticker.id)).bytes() == b"ready\nend\n"
            assert (await admin.run("echo", "again"))[1] == b"again\n"


async def test_a_log_that_was_torn_is_served_after_a_restart(own_server: Server) -> None:
    assert own_server.state
    async with client(own_server, "admin") as admin:
        script = "for i in 1 2 3 4 5; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done"
        job, whole = await admin.run("sh", "-c", script)
        intact, _ = await admin.run("echo", "intact")
    assert own_server.stop() == 0
    directory = own_server.state / "state/jobs" / job.id
    index = directory / "output.idx"
    os.truncate(index, 24 + 3 * 24 + 17)
    own_server.launch()
    async with client(own_server, "admin") as admin:
        assert (await admin.stream(intact.id)).bytes() == b"intact\n"
        output = await admin.stream(job.id)
        assert output.result == job
        kept = output.bytes()
        assert whole.startswith(kept)
        (gap,) = output.truncated
        assert (gap.from_offset, gap.to_offset) == (len(kept), len(whole))
        assert "disk lost it" in gap.reason
        # The range of the gap is of unknown source, and so are the lines in it.
        for fields in ({"tail_lines": 3}, {"source": job_output_pb2.OUTPUT_SOURCE_STDERR}, {"offset": 5}):
            output = await admin.stream(job.id, **fields)
            assert output.result == job
            assert output.truncated[-1].to_offset == len(whole)
