"""Check running jobs on a file system that turns read-only. It is mounted from a file, with a loop device."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BIN
from restarts import kill_supervisor, lasting_client
from test_broken_logs import SIZE, TICKER, jobs_dir, refuses

from jobworker.v1 import job_pb2
from live import Server


@contextlib.contextmanager
def ext4(directory: Path, image: Path) -> Iterator[Path]:
    """Mount an ext4 that becomes read-only on an error, and yield the file that causes one."""
    directory.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-e", "remount-ro", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, directory], check=True)
    try:
        device = Path(
            f"/sys/dev/block/{os.major(directory.stat().st_dev)}:{os.minor(directory.stat().st_dev)}"
        )
        yield Path("/sys/fs/ext4") / device.resolve().name / "trigger_fs_error"
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.root
@pytest.mark.parametrize("killed", [False, True], ids=["", "with a kill of the supervisor"])
async def test_a_disk_that_becomes_read_only_under_running_jobs(
    certs: Path, tmp_path: Path, *, killed: bool
) -> None:
    with (
        ext4(jobs_dir(tmp_path), tmp_path / "image") as trigger,
        Server.started(BIN, certs, tmp_path / "state") as server,
    ):
        async with lasting_client(server) as admin:
            script = TICKER.replace("echo end; exit 5", f"seq -f %015.0f 1 {SIZE // 16}; exit 3")
            writer = await admin.create("sh", "-c", script)
            await admin.wrote(writer.id, b"ready")
            trigger.write_text("1")
            if killed:
                await kill_supervisor(server)
                assert (await admin.get(writer.id)).log_size == len("ready\n")
            await refuses(admin, "Read-only file system")
            # The stop returns when the job has written everything and is final.
            stopped = await admin.stop(writer.id, seconds=60)
            assert (stopped.status, stopped.exit_code) == (job_pb2.JOB_STATUS_STOPPED, 3)
            output = await admin.stream(writer.id)
            assert output.bytes() == b"ready\n"
        (error,) = (event for event in server.events() if event["event"] == "log" and "lost" in str(event))
        assert f"{SIZE} bytes of output of job {writer.id} are lost" in str(error)
