"""Check that jobs, calls and SIGTERM work while the reader of the server's stderr is stalled."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

from live import Server, mounted
from live_client import Client, client

BIN = Path(sys.executable).parent
CALLS = 300
PIPE_BYTES = 4_096


@contextlib.contextmanager
def started(certs: Path, state: Path) -> Iterator[tuple[Server, int]]:
    """Start a server whose stderr is a small pipe, read only until the server serves."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    base = f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--listen", "127.0.0.1:0", "--cgroup-base", base]
    argv += ["--state-dir", state, "--certs-dir", certs]
    process = subprocess.Popen(argv, stderr=write_end)
    os.close(write_end)
    server = Server(_address(read_end), certs, state, mounted(base), process)
    try:
        yield server, read_end
    finally:
        server.stop()
        os.close(read_end)


def _address(read_end: int) -> str:
    data = b""
    while b'"serving"' not in data or not data.endswith(b"\n"):
        read = os.read(read_end, PIPE_BYTES)
        assert read, f"the server ended:\n{data.decode()}"
        data += read
    (event,) = (event for line in data.splitlines() if (event := json.loads(line))["event"] == "serving")
    return str(event["address"])


async def _use(admin: Client) -> None:
    job, output = await admin.run("sh", "-c", "echo works; head -c 3000000 /dev/zero")
    assert len(output) == len("works\n") + 3_000_000
    for _ in range(CALLS):
        assert (await admin.get(job.id)).exit_code == 0


async def test_jobs_calls_and_sigterm_work(certs: Path, tmp_path: Path) -> None:
    with started(certs, tmp_path / "state") as (server, _):
        async with client(server, "admin") as admin:
            await _use(admin)
            left = await admin.create("sleep", "300")
        assert server.process
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert not psutil.pid_exists(left.pid)


async def test_lines_are_written_once_the_reader_resumes(certs: Path, tmp_path: Path) -> None:
    with started(certs, tmp_path / "state") as (server, read_end):
        async with client(server, "admin") as admin:
            await _use(admin)
        lines: list[bytes] = []
        reader = threading.Thread(target=lambda: lines.extend(open(read_end, "rb", closefd=False)))  # noqa: SIM115 - the descriptor is closed by its owner
        reader.start()
        assert server.stop() == 0
        reader.join(30)
    events = [json.loads(line) for line in lines]
    calls = [event for event in events if event["event"] == "rpc" and event["method"].endswith("GetJob")]
    assert len(calls) == CALLS
    assert events[-1]["event"] == "ended"
