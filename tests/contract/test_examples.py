"""The Java and the Rust example against a live server, if their toolchain is installed."""

import os
import subprocess
from collections.abc import Mapping

import pytest

from examples import compiled
from live import Server

pytestmark = pytest.mark.timeout(900)
"""In seconds. The first build compiles a TLS library and gRPC."""

Programs = Mapping[str, list[str]]


@pytest.fixture(scope="module")
def programs() -> Programs:
    """The command lines of the examples."""
    return compiled()


def run(program: list[str], server: Server, *arguments: str, role: str = "admin") -> tuple[int, bytes, str]:
    """Run an example and return its exit code, stdout and stderr."""
    variables = {
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
        "JOBWORKER_ROLE": role,
    }
    done = subprocess.run(
        [*program, *arguments], capture_output=True, timeout=120, check=False, env={**os.environ, **variables}
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_example_prints_the_output_and_exits_with_the_exit_code(programs: Programs, server: Server) -> None:
    script = r"printf '\000\377'; seq 100000; printf err >&2; exit 3"
    output = b"\x00\xff" + b"".join(b"%d\n" % number for number in range(1, 100_001))
    for program in programs.values():
        assert run(program, server, "sh", "-c", script) == (3, output, "err")
        assert run(program, server, "sh", "-c", "kill -KILL $$")[0] == 137


def test_example_prints_the_reason_of_an_error(programs: Programs, server: Server) -> None:
    for program in programs.values():
        code, _, stderr = run(program, server, "no-such-command")
        assert (code, stderr.strip().endswith("(COMMAND_NOT_STARTED)")) == (125, True), stderr
        code, _, stderr = run(program, server, "true", role="viewer")
        assert (code, stderr.strip().endswith("(ROLE_REQUIRED)")) == (125, True), stderr
