"""The time of the command from start to exit, which is mostly imports."""

import os
import subprocess
import time
from pathlib import Path

from result import Result

from live import Server

ROUNDS = 15


def startup(bin_dir: Path, server: Server) -> list[Result]:
    """Measure `jobworker --help`, and `jobworker list` with a server without jobs."""
    connected = ["--server", server.address, "--certs", str(server.certs), "list"]
    return [
        _case(bin_dir, "`jobworker --help`", ["--help"], 0.12),
        _case(bin_dir, "`jobworker list`", connected, 0.22),
    ]


def _case(bin_dir: Path, name: str, words: list[str], bound: float) -> Result:
    argv = [str(bin_dir / "jobworker"), *words]
    _seconds(argv)  # the first run compiles the modules
    return Result(name, "start to exit", [_seconds(argv) for _ in range(ROUNDS)], "s", bound, at_least=False)


def _seconds(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "GRPC_VERBOSITY": "NONE"})
    return time.perf_counter() - start
