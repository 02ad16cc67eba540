"""The command itself: how it starts, what it says of itself."""

import subprocess
import sys
from pathlib import Path

import pytest

VERBS = ("create", "get", "list", "stop", "stream", "run", "wait", "update", "top", "stats")


def jobworker(*args: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed command."""
    command = Path(sys.executable).parent / "jobworker"
    return subprocess.run([command, *args], capture_output=True, text=True, check=False)


def test_help_names_every_verb_and_every_exit_code() -> None:
    result = jobworker("--help")
    assert result.returncode == 0
    assert all(f"\n  {verb} " in result.stdout for verb in VERBS)
    assert all(f"\n    {code:<5}" in result.stdout for code in (0, 1, 2, 124, 125, 126, 127, 130))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    for flag in ("-h", "--help"):
        result = jobworker(verb, flag)
        assert result.returncode == 0
        assert f"Usage: jobworker {verb} " in result.stdout


@pytest.mark.parametrize("slow", ["asyncio", "google.protobuf", "grpc", "jobworker.v1", "pydantic", "rich"])
def test_help_does_not_wait_for_what_is_slow_to_import(slow: str) -> None:
    code = f"import jobworker_cli.main, sys; sys.exit({slow!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_a_verb_there_is_help() -> None:
    result = jobworker()
    assert "Usage: jobworker" in result.stdout + result.stderr
    assert result.returncode == 2


def test_an_unknown_verb_is_a_usage_error() -> None:
    result = jobworker("creat", "true")
    assert result.returncode == 2
    assert "create" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_the_parent_closed_is_no_error(closed: str) -> None:
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


def test_the_version_is_the_distributions() -> None:
    assert jobworker("--version").stdout.startswith("jobworker 0.")
