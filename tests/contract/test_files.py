"""Tests of `run --upload` and `run --download` against a live server."""

import contextlib
import hashlib
import os
import signal
import time
from pathlib import Path

import psutil
from restarts import supervisor

from jobworker_command import Jobworker, jobworker
from live import Server

__all__ = ["jobworker"]

ROOMY = ("--max-cpu", "400", "--max-memory", "256")


def test_files_go_to_the_job_and_return(jobworker: Jobworker, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tool").write_text("#!/bin/sh\necho from the tool; sort >result/sorted; exit 3\n")
    (tmp_path / "data/tool").chmod(0o755)
    (tmp_path / "data/link").symlink_to("tool")
    done = jobworker(
        "run", "-i", *ROOMY, "--upload", f"{tmp_path}/data", "--upload", f"{tmp_path}/data:/tmp/a/b",
        "--download", f"result:{tmp_path}/out/", "--download", f"/tmp/a:{tmp_path}/again",
        "sh", "-c", "mkdir result; exec data/link", stdin=b"b\na\n",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, b"from the tool\n"), done.stderr
    assert b"error" not in done.stderr
    assert (tmp_path / "out/result/sorted").read_text() == "a\nb\n"
    assert os.access(tmp_path / "again/b/tool", os.X_OK)
    assert str((tmp_path / "again/b/link").readlink()) == "tool"


def test_a_failed_download_is_an_error(jobworker: Jobworker, tmp_path: Path) -> None:
    script = "mkdir bad; ln -s /etc/passwd bad/link; echo 1 >good"
    downloads = ("--download", f"bad:{tmp_path}/bad", "--download", f"good:{tmp_path}/good")
    done = jobworker("run", *ROOMY, *downloads, "sh", "-c", script)
    assert done.returncode == 125
    assert b"error: --download bad: the link './link' to '/etc/passwd' leads out" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_an_upload_without_room_ends_before_the_command(jobworker: Jobworker, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    done = jobworker("run", *ROOMY, "--scratch", "1", "--upload", f"{tmp_path}/large", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"error: the job ended before its command could run; uploads need room in --scratch" in done.stderr


def test_a_stopped_command_is_followed_by_the_download(jobworker: Jobworker, tmp_path: Path) -> None:
    script = "trap 'echo saved >out; exit 5' TERM; echo up; sleep 600 & wait"
    arguments = ("run", *ROOMY, "--download", f"out:{tmp_path}/out", "sh", "-c", script)
    with jobworker.started(*arguments) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 5, stderr
    assert (tmp_path / "out").read_text() == "saved\n"


def test_a_killed_client_leaves_no_file(jobworker: Jobworker, tmp_path: Path) -> None:
    arguments = ("--download", f"out:{tmp_path}/out", "sh", "-c", "head -c 200000000 /dev/zero >out; echo up")
    with jobworker.started("run", *ROOMY, "-l", "test=killed", *arguments) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        process.kill()
        process.wait(timeout=30)
    assert list(tmp_path.iterdir()) == []
    job_id = jobworker.printed("list", "-q", "-l", "test=killed").strip()
    jobworker("stop", "--now", job_id)


def kill(server: Server, number: int) -> None:
    """Kill an API process or the supervisor, in turn. Neither may run at the moment."""
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, IndexError):
        victim = supervisor(server) if number % 2 else server.api_processes()[0]
        victim.kill()


def test_kills_neither_lose_nor_repeat_bytes(own_server: Server, tmp_path: Path) -> None:
    data = os.urandom(32 << 20)
    (tmp_path / "in").write_bytes(data)
    files = ("--upload", f"{tmp_path}/in", "--download", f"in:{tmp_path}/out")
    kills = 0
    with Jobworker(own_server).started("run", *ROOMY, *files, "sha256sum", "in") as process:
        while process.poll() is None:
            time.sleep(0.3)
            if kills < 4:
                kill(own_server, kills)
                kills += 1
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout.split()[:1]) == (0, [hashlib.sha256(data).hexdigest().encode()]), (
        stderr
    )
    assert (tmp_path / "out").read_bytes() == data
    assert kills
