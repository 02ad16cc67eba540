"""Starts live servers and calls them for the contract tests."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc

T = TypeVar("T")

GUEST = os.environ.get("IN_GUEST") in {"uml", "qemu"}
"""Whether the tests run in a guest kernel, where they may set the clock."""

SLOW = GUEST
"""Whether forks are slow: a guest kernel takes fifty times as long, so tests use fewer jobs."""

IDLE_PROCESSES = 8 if os.geteuid() == 0 else 5
"""One API process, the fork server and three spare processes. With isolation, each spare has an init."""

START_WITHIN_SECONDS = 60
"""Seconds. A guest without hardware virtualization is twenty times slower than its host."""


@dataclass
class Server:
    """A running server. Only servers that the tests started have `process` and `log`."""

    address: str
    certs: Path
    state: Path | None = None
    cgroup_base: Path | None = None
    process: "subprocess.Popen[bytes] | None" = None
    log: Path | None = None

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
        base = f"/sys/fs/cgroup/jobworker-test-{uuid.uuid4().hex[:12]}"
        argv: list[str | Path] = [
            *run_by,
            bin_dir / "jobworkerd",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--state-dir",
            state / "state",
        ]
        argv += ["--certs-dir", certs, "--cgroup-base", base, *flags]
        with log.open("wb") as stderr:
            # Like systemd, start the server in its own session.
            process = subprocess.Popen(argv, stderr=stderr, env={**os.environ, **env}, start_new_session=True)
        server = cls("", certs, state, mounted(base), process, log)
        try:
            server.address = server.wait_for_event("serving")["address"]
            yield server
        finally:
            running = process.poll() is None
            exit_code = server.stop()
            assert exit_code == 0 or not running, f"{exit_code}:\n{log.read_text(errors='replace')[-4000:]}"

    def events(self) -> list[dict[str, str]]:
        """Return the events that the server has logged so far."""
        assert self.log
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

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

    def descendants(self) -> list[psutil.Process]:
        """Return the API processes, the fork server, the spare processes and the jobs' main processes."""
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


@dataclass
class Output:
    """The messages of one GetJobsStream call."""

    chunks: list[job_service_pb2.GetJobsStreamResponse] = field(default_factory=list)
    truncated: list[job_output_pb2.TruncatedRange] = field(default_factory=list)
    result: job_pb2.Job | None = None

    def bytes(self, *sources: job_output_pb2.OutputSource.ValueType) -> bytes:
        """Return the output of these sources, or of all."""
        return b"".join(each.payload for each in self.chunks if not sources or each.source in sources)


class Client:
    """The stubs of one channel, with the calls that most tests make."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.stub = job_service_pb2_grpc.JobServiceStub(channel)

    async def create(self, *argv: str, **fields: Any) -> job_pb2.Job:
        """Create a job, by default with 64 MiB of memory and one core."""
        limits: dict[str, Any] = {"max_memory": 64, "max_cpu": 100}
        request = job_service_pb2.CreateJobRequest(command=argv[0], args=argv[1:], **{**limits, **fields})
        return (await self.stub.CreateJob(request, timeout=60)).job

    async def get(self, job_id: str) -> job_pb2.Job:
        """Return a job."""
        return (await self.stub.GetJob(job_service_pb2.GetJobRequest(id=job_id), timeout=30)).job

    async def stop(self, job_id: str, *, seconds: int | None = None) -> job_pb2.Job:
        """Stop a job with its own grace period or one of `seconds`, and return it."""
        request = job_service_pb2.StopJobRequest(id=job_id)
        if seconds is not None:
            request.grace_period.FromSeconds(seconds)
        return (await self.stub.StopJob(request, timeout=60)).job

    async def update(self, job_id: str, **limits: Any) -> job_pb2.Job:
        """Change limits of a running job, and return it."""
        request = job_service_pb2.UpdateJobRequest(id=job_id, **limits)
        return (await self.stub.UpdateJob(request, timeout=60)).job

    async def wrote(self, job_id: str, text: bytes) -> None:
        """Wait until a job has written a text."""
        request = job_service_pb2.GetJobsStreamRequest(id=job_id)
        output = b""
        call = self.stub.GetJobsStream(request, timeout=60)
        async for message in call:
            output += message.payload
            if text in output:
                call.cancel()
                return
        raise AssertionError(f"{text!r} is not in {output!r}")

    async def stream(self, job_id: str, **fields: Any) -> Output:
        """Follow a job to its end, and check the guarantees of the stream."""
        output = Output()
        request = job_service_pb2.GetJobsStreamRequest(id=job_id, **fields)
        offset = request.offset
        async for message in self.stub.GetJobsStream(request, timeout=120):
            assert output.result is None, "the result is the last message"
            kind = message.WhichOneof("kind")
            # With a filter, output of the other source can lie between two messages.
            can_skip = request.source or kind == "start_offset"
            assert message.offset == offset or (can_skip and message.offset > offset), "no gap"
            offset = message.next_offset
            match kind:
                case "result":
                    assert message.offset == message.next_offset
                    output.result = message.result
                case "payload":
                    length = sum(message.source_run_bytes) or len(message.payload)
                    assert message.payload
                    assert message.next_offset == message.offset + length
                    output.chunks.append(message)
                case "truncated":
                    assert message.truncated.from_offset == message.offset
                    assert message.truncated.to_offset == message.next_offset
                    output.truncated.append(message.truncated)
                case "start_offset":
                    assert message.start_offset == message.offset == message.next_offset
                    assert not output.chunks, "the start offset is in the first message"
                case None:
                    raise AssertionError("a message has a kind")
        return output

    async def ended(self, job_id: str) -> job_pb2.Job:
        """Wait until a job is final, and return it."""
        request = job_service_pb2.WaitJobRequest(id=job_id)
        response = await self.stub.WaitJob(request, timeout=120)
        assert response.done
        return response.job

    async def run(self, *argv: str, **fields: Any) -> tuple[job_pb2.Job, bytes]:
        """Run a job to its end; return the final job and its output."""
        job = await self.create(*argv, **fields)
        output = await self.stream(job.id)
        assert output.result
        return output.result, output.bytes()


@contextlib.asynccontextmanager
async def client(server: Server, role: str) -> AsyncIterator[Client]:
    """Connect with the certificate of a role."""
    async with grpc.aio.secure_channel(server.address, credentials(server.certs, role)) as channel:
        yield Client(channel)


def credentials(certs: Path, role: str) -> grpc.ChannelCredentials:
    """Return channel credentials: the certificate and key of a role, and the CA to trust."""
    return grpc.ssl_channel_credentials(
        root_certificates=(certs / "ca.pem").read_bytes(),
        private_key=(certs / f"{role}-key.pem").read_bytes(),
        certificate_chain=(certs / f"{role}.pem").read_bytes(),
    )


@dataclass
class Refusal:
    """The parts of an error from the server."""

    code: grpc.StatusCode
    reason: str
    fields: list[str]
    message: str


@contextlib.asynccontextmanager
async def refused(code: grpc.StatusCode) -> AsyncIterator[Refusal]:
    """Expect the body to fail with a status code, and fill in the refusal."""
    refusal = Refusal(code, "", [], "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield refusal
    error = caught.value
    assert error.code() is code, f"{error.code()}: {error.details()}"
    refusal.message = error.details() or ""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            refusal.reason = info.reason
        elif detail.Unpack(bad):
            refusal.fields = [violation.field for violation in bad.field_violations]


async def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


def pids_with(marker: str) -> list[int]:
    """Return the PIDs of processes that have this argument."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if marker.encode() in cmdline.read_bytes().split(b"\0"):
                found.append(int(re.sub(r"\D", "", cmdline.parent.name)))
    return found
