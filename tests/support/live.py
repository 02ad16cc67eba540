"""Starts live servers and calls them for the contract tests."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from jobworker.v1 import job_pb2

T = TypeVar("T")

GUEST = os.environ.get("IN_GUEST") in {"uml", "qemu"}
"""Whether the tests run in a guest kernel, where they may set the clock."""

SLOW = GUEST
"""Whether forks are slow: a guest kernel takes fifty times as long, so tests use fewer jobs."""


def _isolates_processes() -> bool:
    """Return whether jobs of this user get PID namespaces."""
    new_namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "true"]
    return (
        os.geteuid() == 0 or subprocess.run(new_namespace, check=False, capture_output=True).returncode == 0
    )


IDLE_PROCESSES = 9 if _isolates_processes() else 6
"""The supervisor, one API process, the fork server and three spare processes, with inits if isolated."""

_SHARED_FILES = {} if os.geteuid() == 0 else {"JOBWORKERD_ISOLATION_WRITABLE_PATHS": tempfile.gettempdir()}
"""An unprivileged user can create files only in a directory that is otherwise private to each job."""

_ANY_PORT = "127.0.0.1:0"

START_WITHIN_SECONDS = 60
"""Seconds. A guest without hardware virtualization is twenty times slower than its host."""


@dataclass
class Server:
    """A running server. Only servers that the tests started have `process`, the main process, and `log`."""

    address: str
    certs: Path
    state: Path | None = None
    cgroup_base: Path | None = None
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None
    _argv: Sequence[str | Path] = field(default=(), repr=False)
    _env: Mapping[str, str] = field(default_factory=dict, repr=False)
    _log_start: int = 0

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, bin_dir: Path, certs: Path, state: Path, *flags: str, run_by: Sequence[str] = (), **env: str
    ) -> Iterator["Server"]:
        """Start a server on a free port and stop it at the end; it leaves no process and no cgroup.

        `run_by` is a command that executes the server, such as prlimit(1).
        """
        state.mkdir(parents=True, exist_ok=True)
        log = state / "server.log"
        log.write_bytes(b"")
        base = _new_base()
        argv: list[str | Path] = [*run_by, bin_dir / "jobworkerd", "serve", "--listen", _ANY_PORT]
        argv += ["--state-dir", state / "state", "--certs-dir", certs, "--cgroup-base", base, *flags]
        server = cls("", certs, state, mounted(base), None, log, argv, {**os.environ, **_SHARED_FILES, **env})
        try:
            server.launch()
            yield server
        finally:
            running = server.process is not None and server.process.poll() is None
            exit_code = server.stop()
            assert exit_code == 0 or not running, f"{exit_code}:\n{log.read_text(errors='replace')[-4000:]}"

    def change_cgroup_base(self) -> None:
        """Let later starts use another base for cgroups."""
        base, former = _new_base(), self._argv[self._argv.index("--cgroup-base") + 1]
        self._argv = [base if each == former else each for each in self._argv]
        self.cgroup_base = mounted(base)

    def launch(self) -> None:
        """Start the main process, and wait until it serves. Later starts use the first one's port."""
        assert self.log
        argv = [self.address if each == _ANY_PORT and self.address else each for each in self._argv]
        self._log_start = self.log.stat().st_size
        with self.log.open("ab") as stderr:
            # Like systemd, start the server in its own session.
            self.process = subprocess.Popen(argv, stderr=stderr, env=self._env, start_new_session=True)
        self.address = self.wait_for_event("serving")["address"]

    def events(self) -> list[dict[str, str]]:
        """Return the events that the server has logged since its last start."""
        assert self.log
        # A read can see a part of the line that is being written.
        complete, _, _ = self.log.read_bytes()[self._log_start :].decode(errors="replace").rpartition("\n")
        return [json.loads(line) for line in complete.splitlines() if line.startswith("{")]

    def has_event(self, name: str) -> bool:
        """Return whether the server has logged an event with this name."""
        return any(event["event"] == name for event in self.events())

    def wait_for_event(self, name: str) -> dict[str, str]:
        """Wait for an event with this name and return the first."""
        assert self.process

        def find() -> dict[str, str] | None:
            assert self.process
            found = next((event for event in self.events() if event["event"] == name), None)
            if found is None and self.process.poll() is not None:
                assert self.log
                raise AssertionError(f"the server ended:\n{self.log.read_text()}")
            return found

        return until(find, START_WITHIN_SECONDS)

    def probe(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `jobworkerd health` for this server."""
        command: list[str | Path] = [Path(sys.executable).parent / "jobworkerd", "health", *arguments]
        command += ["--server", self.address, "--certs-dir", self.certs]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def stop(self) -> int:
        """Stop the server as systemd does, and return its exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            for each in self.descendants():
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self.process.kill()
            self.process.wait()
            raise

    @property
    def supervisor(self) -> psutil.Process:
        """The supervisor, which is a child of the main process."""
        (found,) = [each for each in self.descendants() if "jobworkerd.supervisor" in arguments(each)]
        return found

    def descendants(self) -> list[psutil.Process]:
        """Return the supervisor, API processes, fork server, spare processes and main processes of jobs."""
        assert self.process
        return psutil.Process(self.process.pid).children(recursive=True)

    def api_processes(self) -> list[psutil.Process]:
        """Return the API processes."""
        return [each for each in self.descendants() if "jobworkerd.api" in arguments(each)]

    def job_cgroups(self) -> list[str]:
        """Return the names of the jobs' cgroups."""
        jobs = self.cgroup_base / "jobs" if self.cgroup_base else None
        return [entry.name for entry in jobs.iterdir() if entry.is_dir()] if jobs and jobs.is_dir() else []

    def cgroup_of(self, job: job_pb2.Job) -> Path:
        """Return the cgroup of a job that is not final."""
        assert self.cgroup_base
        return self.cgroup_base / "jobs" / job.id


def arguments(process: psutil.Process) -> list[str]:
    """Return the arguments of a process; an empty list if it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def until(get: Callable[[], T | None], seconds: float = 30) -> T:
    """Call a function until it returns a true value, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        if found := get():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{get} returned nothing within {seconds} s")
        time.sleep(0.02)


def _new_base() -> str:
    return f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"


def mounted(base: str) -> Path | None:
    """Return the path of a cgroup base on this host; hybrid hosts mount cgroup v2 one level deeper."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4]) / Path(base).name
    return None


@contextlib.contextmanager
def seen_by_jobs() -> Iterator[Path]:
    """Create a directory for files that jobs can see; /tmp is private in each job.

    It avoids /run, which some hosts mount with `noexec`.
    """
    parent = "/opt" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="jobworker-test-", dir=parent) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def make_certificates(bin_dir: Path, directory: Path, *flags: str) -> Path:
    """Make a set of certificates with `jobworkerd certs init`."""
    argv: list[str | Path] = [
        bin_dir / "jobworkerd",
        "certs",
        "init",
        "--dir",
        directory,
        "--host",
        "localhost",
        "--host",
        "127.0.0.1",
        *flags,
    ]
    subprocess.run(argv, check=True, capture_output=True)
    return directory


async def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


def still_alive(processes: Iterable[psutil.Process], seconds: float = 30) -> list[psutil.Process]:
    """Wait for the end of processes; return those that have not ended in time.

    psutil.wait_procs fails on older kernels if a process is reaped at the same moment (EINVAL of pidfd_open).
    """
    deadline = time.monotonic() + seconds
    while (alive := [each for each in processes if each.is_running()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def pids_with(marker: str) -> list[int]:
    """Return the PIDs of processes that have this argument."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in cmdline.read_bytes().split(b"\0"):
                found.append(int(re.sub(r"\D", "", cmdline.parent.name)))
    return found
