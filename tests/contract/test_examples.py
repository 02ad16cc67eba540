"""The Java and the Rust example against a live server; what this machine cannot compile is left out."""

import os
import subprocess
from collections.abc import Mapping

import pytest

from examples import compiled
from live import Server

pytestmark = pytest.mark.timeout(900)
"""In seconds: the first build compiles a TLS library and gRPC."""

Programs = Mapping[str, list[str]]


@pytest.fixture(scope="module")
def programs() -> Programs:
    """The command lines of the examples."""
    return compiled()


def run(program: list[str], server: Server, *words: str, role: str = "admin") -> tuple[int, bytes, str]:
    """Returns the exit code, the stdout and the stderr of an example."""
    variables = {
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
        "JOBWORKER_ROLE": role,
    }
    done = subprocess.run(
        [*program, *words], capture_output=True, timeout=120, check=False, env={**os.environ, **variables}
    )
    return done.returncode, done.stdout, done.stderr.decode()


def test_output_and_exit_code_are_the_job_s(programs: Programs, server: Server) -> None:
    script = r"printf '\000\377'; seq 100000; printf err >&2; exit 3"
    written = b"\x00\xff" + b"".join(b"%d\n" % number for number in range(1, 100_001))
    for program in programs.values():
        assert run(program, server, "sh", "-c", script) == (3, written, "err")
        assert run(program, server, "sh", "-c", "kill -KILL $$")[0] == 137


def test_the_server_s_errors_have_their_reasons(programs: Programs, server: Server) -> None:
    for program in programs.values():
        code, _, said = run(program, server, "no-such-command")
        assert (code, said.strip().endswith("(COMMAND_NOT_STARTED)")) == (125, True), said
        code, _, said = run(program, server, "true", role="viewer")
        assert (code, said.strip().endswith("(ROLE_REQUIRED)")) == (125, True), said
