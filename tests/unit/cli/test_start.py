"""Tests of the start of the command, its help and its version."""

import subprocess
import sys
from pathlib import Path

import pytest

SUBCOMMANDS = ("create", "get", "list", "stop", "stream", "run", "wait", "update", "top", "stats", "nodes")


def jobworker(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = Path(sys.executable).parent / "jobworker"
    return subprocess.run([command, *args], capture_output=True, text=True, check=False)


def test_help_lists_subcommands_and_exit_codes() -> None:
    result = jobworker("--help")
    assert result.returncode == 0
    assert all(f"\n  {subcommand} " in result.stdout for subcommand in SUBCOMMANDS)
    assert all(f"\n    {code:<5}" in result.stdout for code in (0, 1, 2, 124, 125, 126, 127, 130))


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_subcommand_has_help(subcommand: str) -> None:
    for flag in ("-h", "--help"):
        result = jobworker(subcommand, flag)
        assert result.returncode == 0
        assert f"Usage: jobworker {subcommand} " in result.stdout


@pytest.mark.parametrize("slow", ["asyncio", "google.protobuf", "grpc", "jobworker.v1", "pydantic", "rich"])
def test_help_does_not_import_slow_modules(slow: str) -> None:
    code = f"import jobworker_cli.main, sys; sys.exit({slow!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_without_a_subcommand() -> None:
    result = jobworker()
    assert "Usage: jobworker" in result.stdout + result.stderr
    assert result.returncode == 2


def test_unknown_subcommand_is_a_usage_error() -> None:
    result = jobworker("creat", "true")
    assert result.returncode == 2
    assert "create" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_stdout_and_stderr_are_accepted(closed: str) -> None:
    command = Path(sys.executable).parent / "jobworker"
    result = subprocess.run(
        ["sh", "-c", f'"$0" --certs /nonexistent list {closed}', command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert ("cannot read the file" in result.stderr) == ("2>&-" not in closed)


def test_version_of_the_distribution() -> None:
    assert jobworker("--version").stdout.startswith("jobworker 0.")
