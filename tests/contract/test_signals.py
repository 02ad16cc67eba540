"""Check signals to the server, killed helper processes, and inherited process state."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from jobworker.v1 import job_pb2, job_service_pb2
from live import START_WITHIN_SECONDS, Server, arguments, eventually, mounted, until
from live_client import Client, client

BIN = Path(sys.executable).parent
KILLS = 10
MARKER = "JOBWORKER_TEST_MARKER"
OTHERS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGPROF, signal.SIGIO, signal.SIGRTMIN + 1]


def with_marker(marker: str) -> list[int]:
    """Return the processes that have a marker in their environment."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"{MARKER}={marker}".encode() in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return found


@pytest.mark.parametrize("number", OTHERS)
async def test_signals_without_a_meaning_are_ignored(server: Server, admin: Client, number: int) -> None:
    if not server.process:
        return  # an external server (JOBWORKER_SERVER)
    os.kill(server.process.pid, number)
    await eventually(lambda: server.has_event("signal ignored"))
    _, output = await admin.run("echo", "works")
    assert output == b"works\n"


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
async def test_termination_signals_stop_jobs_in_order(own_server: Server, number: int) -> None:
    assert own_server.process
    async with client(own_server, "admin") as admin:
        job = await admin.create("sh", "-c", "echo ready; exec sleep 300")
        messages = aiter(
            admin.stub.GetJobsStream(job_service_pb2.GetJobsStreamRequest(id=job.id), timeout=60)
        )
        assert (await anext(messages)).payload == b"ready\n"
        own_server.process.send_signal(number)
        *_, last = [message async for message in messages]
    assert last.result.status == job_pb2.JOB_STATUS_STOPPED
    assert own_server.process.wait(60) == 0
    assert own_server.has_event("ended")
    assert not own_server.job_cgroups()


def test_a_server_killed_during_its_start_leaves_no_process(certs: Path, tmp_path: Path) -> None:
    """Each round kills it later, so that spare processes are in every stage of their start."""
    for round_number in range(KILLS):
        marker = f"{os.getpid()}-{round_number}"
        with _starting(certs, tmp_path / "state", marker) as process:
            until(lambda marker=marker: len(with_marker(marker)) > 1, START_WITHIN_SECONDS)  # type: ignore[misc]
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(round_number * 0.01)
            process.kill()
        until(lambda marker=marker: not with_marker(marker))  # type: ignore[misc]
        until(lambda marker=marker: _removed_base(marker))  # type: ignore[misc]


def _removed_base(marker: str) -> bool:
    """Remove the cgroups of a killed server once their last process has exited."""
    base = mounted(f"/sys/fs/cgroup/jobworker-test-{marker}")
    with contextlib.suppress(OSError):
        for directory, _, _ in os.walk(base or "", topdown=False):
            Path(directory).rmdir()
    return base is None or not base.exists()


@contextlib.contextmanager
def _starting(certs: Path, state: Path, marker: str) -> Iterator["subprocess.Popen[bytes]"]:
    argv: list[str | Path] = [BIN / "jobworkerd", "serve", "--listen", "127.0.0.1:0", "--certs-dir", certs]
    argv += ["--state-dir", state, "--cgroup-base", f"/sys/fs/cgroup/jobworker-test-{marker}"]
    environment = {**os.environ, MARKER: marker}
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL, env=environment) as process:
        yield process


async def test_the_next_job_survives_killed_inits(own_server: Server) -> None:
    async with client(own_server, "admin") as admin:
        for _ in range(3):
            inits = [each for each in own_server.descendants() if _is_init(each)]
            for init in inits:
                with contextlib.suppress(psutil.NoSuchProcess):
                    init.kill()
            await eventually(lambda inits=inits: not any(map(_is_init, inits)))  # type: ignore[misc]
            _, output = await admin.run("echo", "works")
            assert output == b"works\n"


def _is_init(process: psutil.Process) -> bool:
    """Return whether a process is a live init: a zombie has no arguments."""
    return arguments(process)[:1] == ["sleep"]


@pytest.fixture
def server_without_streams(certs: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with descriptors 0, 1 and 2 closed, as by `2>&-` in a shell."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    base = f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"
    argv: list[str | Path] = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", BIN / "jobworkerd", "serve"]
    argv += ["--listen", address, "--certs-dir", certs, "--state-dir", tmp_path, "--cgroup-base", base]
    server = Server(address, certs, process=subprocess.Popen(argv))
    try:
        yield server
    finally:
        assert server.stop() == 0


async def test_a_server_without_standard_streams_serves(server_without_streams: Server) -> None:
    """No other file gets these descriptor numbers."""
    async with client(server_without_streams, "admin") as admin:
        await asyncio.wait_for(admin.channel.channel_ready(), START_WITHIN_SECONDS)
        _, output = await admin.run("echo", "works")
    assert server_without_streams.process
    descriptors = Path(f"/proc/{server_without_streams.process.pid}/fd")
    streams = [(descriptors / str(number)).readlink() for number in range(3)]
    assert output == b"works\n"
    assert streams == [Path(os.devnull)] * 3


@pytest.mark.parametrize("hard", [2_048, 300])
async def test_jobs_have_the_configured_limit_of_open_files(certs: Path, tmp_path: Path, hard: int) -> None:
    command = ("prlimit", f"--nofile=200:{hard}")
    with Server.started(BIN, certs, tmp_path / "state", run_by=command) as server:
        async with client(server, "admin") as admin:
            _, output = await admin.run("sh", "-c", "ulimit -Sn; ulimit -Hn")
    expected = 524_288 if _may_raise_limits() else hard
    assert output == f"{min(1_024, expected)}\n{expected}\n".encode()


def _may_raise_limits() -> bool:
    """Return whether this process has CAP_SYS_RESOURCE (24)."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return bool(int(status["CapEff"], 16) >> 24 & 1)
