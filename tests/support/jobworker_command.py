"""The command `jobworker` in a process, configured for a live server."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import Server, until

__all__ = ["LIMITS", "Jobworker", "jobworker"]

BIN = Path(sys.executable).parent
LIMITS = ("--max-memory", "64", "--max-cpu", "100")
"""Limits of the jobs. The defaults of 1 MiB and a tenth of a core would make the tests slow."""


class Jobworker:
    """Runs the command for a role, with environment variables that name the server."""

    def __init__(self, server: Server, role: str = "admin") -> None:
        self.env = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "JOBWORKER_SERVER": server.address,
            "JOBWORKER_CERTS": str(server.certs),
            "JOBWORKER_ROLE": role,
        }

    def __call__(self, *args: str, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        """Run `jobworker` with arguments, and optionally with the bytes of stdin."""
        return self._run([str(BIN / "jobworker"), *args], stdin)

    @contextlib.contextmanager
    def started(self, *args: str, stdin: int | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """Start `jobworker`, and kill it at the end of the context. `stdin` is as in `Popen`.

        The pipes have no buffer, because `communicate` does not return what a `readline` has read ahead.
        """
        argv = [str(BIN / "jobworker"), *args]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, bufsize=0, stdin=stdin, stdout=pipe, stderr=pipe, env=self.env
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def line(self, text: str) -> "subprocess.CompletedProcess[bytes]":
        """Run a command line in a shell."""
        return self._run(["sh", "-c", text])

    def create(self, *args: str) -> str:
        """Create a job and return its id."""
        return self.printed("create", "-q", *LIMITS, *args).strip()

    def job(self, ref: str) -> dict[str, Any]:
        """Return a job from `get -o json`."""
        job: dict[str, Any] = json.loads(self.printed("get", "-o", "json", ref))
        return job

    def until_running(self, job_id: str) -> None:
        """Wait until a job runs. A gateway answers CreateJob while the job still waits."""
        until(lambda: self.job(job_id)["status"] == "JOB_STATUS_RUNNING")

    def printed(self, *args: str) -> str:
        """Run a command that must succeed, and return its stdout."""
        done = self(*args)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def _run(self, argv: list[str], stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(argv, input=stdin, capture_output=True, timeout=90, check=False, env=self.env)


@pytest.fixture
def jobworker(server: Server) -> Jobworker:
    """Return the command for an admin of the shared server."""
    return Jobworker(server)
