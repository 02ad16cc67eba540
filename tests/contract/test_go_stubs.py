"""The Go program that uses the generated stubs alone, against a live server."""

import os
import subprocess
from pathlib import Path

import pytest

from live import Server

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)
"""In seconds. The first build compiles gRPC."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled example `stubs`."""
    binary = tmp_path_factory.mktemp("go") / "stubs"
    build: list[str | Path] = [ROOT / "tools/go", "-C", ROOT / "clients/go", "build", "-buildvcs=false"]
    subprocess.run([*build, "-o", binary, "./examples/stubs"], check=True)
    return binary


def run(
    program: Path, server: Server, *command: str, role: str = "admin"
) -> subprocess.CompletedProcess[str]:
    """Run the program in the given role."""
    environment = {
        "JOBWORKER_SERVER": server.address,
        "JOBWORKER_CERTS": str(server.certs),
        "JOBWORKER_ROLE": role,
    }
    return subprocess.run(
        [program, *command], check=False, env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_the_kinds_of_messages_and_the_limits_are_printed(program: Path, server: Server) -> None:
    done = run(program, server, "echo", "hello")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert {line.split(":")[0] for line in lines[:2]} == {"CPU limit", "memory limit"}
    assert lines[-3:] == [
        "output starts at offset 0",
        'OUTPUT_SOURCE_STDOUT: "hello\\n"',
        "exit code 0",
    ]


def test_an_unknown_command_is_recognized_by_its_reason(program: Path, server: Server) -> None:
    done = run(program, server, "no-such-command")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("check the command: ")
    assert "no-such-command" in done.stderr


def test_a_missing_role_is_recognized_by_its_reason(program: Path, server: Server) -> None:
    done = run(program, server, "echo", "hello", role="viewer")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("use another certificate: ")
