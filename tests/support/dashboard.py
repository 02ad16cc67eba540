"""Starts the dashboard of a live server, as a user starts it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from live import Server

BIN = Path(sys.executable).parent
_LOGIN = re.compile(r"(http://127\.0\.0\.1:\d+)/login#\S+")


@dataclass(frozen=True)
class Dashboard:
    """A running `jobworker dashboard`. `login` is the address that logs a browser in, once."""

    origin: str
    login: str
    process: psutil.Process

    @classmethod
    @contextlib.contextmanager
    def started(cls, server: Server, role: str = "admin") -> Iterator["Dashboard"]:
        """Start `jobworker dashboard` with the certificate of a role, and stop it at the end."""
        env = {
            **os.environ,
            "JOBWORKER_SERVER": server.address,
            "JOBWORKER_CERTS": str(server.certs),
            "JOBWORKER_ROLE": role,
        }
        argv: list[str | Path] = [BIN / "jobworker", "dashboard", "--no-browser"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as process:
            try:
                login, origin = printed_address(process)
                yield cls(origin, login, psutil.Process(process.pid))
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)


def printed_address(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Read what a command prints until it names the address to open; return that and its origin."""
    assert process.stdout
    printed = ""
    for line in process.stdout:
        printed += line
        if found := _LOGIN.search(line):
            return found[0], found[1]
    raise AssertionError(f"the dashboard ended:\n{printed}")
