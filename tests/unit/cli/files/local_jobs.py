"""Runs the script of a job with its files here, without a server."""

import asyncio
import itertools
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from jobworker.v1 import job_output_pb2, job_service_pb2
from jobworker_cli.files.transfer import Transfer
from jobworker_client import Chunk, source_runs

__all__ = ["STDERR", "STDOUT", "LocalJob", "Result", "described", "names", "with_busybox", "without"]

STDOUT = job_output_pb2.OUTPUT_SOURCE_STDOUT
STDERR = job_output_pb2.OUTPUT_SOURCE_STDERR

PROGRAMS = ("sh", "tar", "dd", "tee", "sha256sum", "mkdir", "cat", "dirname", "basename")


@dataclass
class Result:
    """The exit code, the output and the problems of a job."""

    code: int
    stdout: bytes
    stderr: bytes
    problems: list[str]


@dataclass
class LocalJob:
    """Runs jobs as processes in a directory, with the programs of `path`.

    `transmit` returns the stdout that the client receives.
    """

    directory: Path
    path: str = os.environ["PATH"]
    transmit: Callable[[bytes], bytes] = bytes

    async def run(self, transfer: Transfer | None, *command: str, stdin: bytes | None = None) -> Result:
        """Run a command with its files."""
        assert transfer
        request = job_service_pb2.CreateJobRequest(command=command[0], args=command[1:])
        transfer.wrap(request)
        sent = b"".join([data async for data in transfer.stdin(_pieces(stdin)) or _pieces(None)])
        done = await asyncio.to_thread(
            subprocess.run,
            [request.command, *request.args],
            input=sent,
            capture_output=True,
            cwd=self.directory,
            env={"PATH": self.path, **request.env},
            timeout=60,
        )
        written = {STDOUT: b"", STDERR: b""}

        async def write(message: Chunk) -> None:
            for source, data in source_runs(message):
                written[source] += data

        receiver = transfer.receiver(write)
        for message in _messages(self.transmit(done.stdout)):
            await receiver.write(message)
        problems = await receiver.finish()
        return Result(done.returncode, written[STDOUT], done.stderr, problems)


async def _pieces(data: bytes | None) -> AsyncIterator[bytes]:
    if data:
        yield data


def _messages(data: bytes) -> list[Chunk]:
    """Split stdout into messages of 1,000 bytes."""
    cuts = [*range(0, len(data), 1_000), len(data)]
    return [
        Chunk(payload=data[begin:end], offset=begin, next_offset=end, source=STDOUT)
        for begin, end in itertools.pairwise(cuts)
    ]


def with_busybox(job: LocalJob, programs: Path) -> LocalJob | None:
    """Return a job with the programs of BusyBox; None if it is not installed."""
    busybox = shutil.which("busybox")
    if busybox is None:
        return None
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).symlink_to(busybox)
    return LocalJob(job.directory, str(programs))


def without(job: LocalJob, missing: str, programs: Path) -> LocalJob:
    """Return a job without a program."""
    programs.mkdir()
    for name in PROGRAMS:
        found = shutil.which(name, path=job.path)
        if found and name != missing:
            (programs / name).symlink_to(found)
    return LocalJob(job.directory, str(programs))


def described(root: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Return the mode, the time and the content or target of everything below a directory."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = (0, 0, str(path.readlink()))
        else:
            content = b"" if path.is_dir() else path.read_bytes()
            time = 0 if path.is_dir() else int(status.st_mtime)
            found[str(path.relative_to(root))] = (stat.S_IMODE(status.st_mode), time, content)
    return found


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in directory.iterdir())
