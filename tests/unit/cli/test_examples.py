"""Tests of the examples in the help: each subcommand has a working one."""

import re
import shlex

import pytest

from jobworker_cli.examples import EXAMPLES
from tests.unit.cli.conftest import Cli, FakeServer


def arguments(example: str) -> list[str]:
    """Return the arguments of the first command in the line."""
    command, *words = shlex.split(re.split(" && | > ", example)[0])
    assert command == "jobworker"
    return words


@pytest.mark.parametrize("subcommand", EXAMPLES)
async def test_help_has_the_example(cli: Cli, subcommand: str) -> None:
    words = arguments(EXAMPLES[subcommand])
    parents = [each for each in ("context", "dashboard") if each in words[: words.index(subcommand)]]
    shown = (await cli(*parents, subcommand, "--help")).text
    assert shown.rstrip().endswith(f"Example:\n    {EXAMPLES[subcommand]}")


# The dashboard serves until a signal ends it, and its tests cover the login.
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("subcommand", [each for each in EXAMPLES if each not in {"dashboard", "login"}])
async def test_example_works(cli: Cli, server: FakeServer, subcommand: str) -> None:
    for prefix in ("019a4c", "019a4d"):
        server.add(f"{prefix}00-0000-7000-8000-000000000001")
    await cli("context", "add", "prod")
    result = await cli(*arguments(EXAMPLES[subcommand]))
    assert result.code == 0, result.stderr
