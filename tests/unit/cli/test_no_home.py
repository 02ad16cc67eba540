"""Tests for a user without HOME and without an account."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, Completed, finished

WITHOUT_ACCOUNT = """
import pwd

def no_account(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = no_account
from jobworker_cli.main import main
main()
"""


async def run_without_account(cli: Cli, *words: str) -> Completed:
    """Run the command as a user without an account."""
    cli.env.pop("HOME", None)
    return await finished(await cli.start(*words, program=("-c", WITHOUT_ACCOUNT)))


async def test_options_and_variables_work(cli: Cli) -> None:
    assert (await run_without_account(cli, "list")).code == 0
    server, certs = cli.env.pop("JOBWORKER_SERVER"), cli.env.pop("JOBWORKER_CERTS")
    result = await run_without_account(cli, "--server", server, "--certs", certs, "list")
    assert (result.code, result.stderr) == (0, "")


async def test_context_show_works_without_home(cli: Cli) -> None:
    shown = await run_without_account(cli, "context", "show")
    assert (shown.code, shown.stderr) == (0, "")
    assert cli.server in shown.text


@pytest.mark.parametrize(
    "words",
    [
        ("context", "list"),
        ("context", "use", "prod"),
        ("context", "add", "prod", "--server", "x:1"),
        ("context", "show", "prod"),
        ("--context", "prod", "context", "show"),
        ("--context", "prod", "list"),
    ],
    ids=" ".join,
)
async def test_contexts_need_a_home_directory(cli: Cli, words: tuple[str, ...]) -> None:
    result = await run_without_account(cli, *words)
    assert result.code == 1
    assert result.stderr.startswith(
        "error: contexts need a home directory: HOME is not set and no account has UID"
    )
    assert "hint: set HOME or XDG_CONFIG_HOME, or use --server and --certs" in result.stderr


async def test_contexts_work_with_only_xdg_config_home(cli: Cli, tmp_path: Path) -> None:
    cli.env["XDG_CONFIG_HOME"] = str(tmp_path)
    assert (await run_without_account(cli, "context", "add", "prod", "--server", "x:1")).code == 0
    assert (await run_without_account(cli, "context", "list")).text == "  prod  x:1\n"


@pytest.mark.parametrize("home", ["/nonexistent", "/dev/null"])
async def test_missing_home_directory_of_a_service_user_is_accepted(cli: Cli, home: str) -> None:
    cli.env["HOME"] = home
    assert (await cli("list")).code == 0
    assert (await cli("context", "list")).code == 0


def test_help_needs_no_environment() -> None:
    for words in (["--help"], ["run", "--help"], ["context", "add", "--help"]):
        argv = [sys.executable, "-c", WITHOUT_ACCOUNT, *words]
        done = subprocess.run(argv, env={}, capture_output=True, text=True, check=True)
        assert "Usage: jobworker" in done.stdout


async def test_completion_needs_a_home_directory(cli: Cli) -> None:
    # Without this variable, typer looks for the shell among the parents of the tests.
    cli.env["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    result = await run_without_account(cli, "--install-completion", "bash")
    assert (result.code, result.stderr) == (1, "error: completion needs a home directory; set HOME\n")
