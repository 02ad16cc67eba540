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
    parents = ["context"] if EXAMPLES[subcommand].split("context ")[-1].startswith(subcommand) else []
    shown = (await cli(*parents, subcommand, "--help")).text
    assert shown.rstrip().endswith(f"Example:\n    {EXAMPLES[subcommand]}")


# The dashboard serves until a signal ends it.
@pytest.mark.parametrize("subcommand", [each for each in EXAMPLES if each != "dashboard"])
async def test_example_works(cli: Cli, server: FakeServer, subcommand: str) -> None:
    for prefix in ("019a4c", "019a4d"):
        server.add(f"{prefix}00-0000-7000-8000-000000000001")
    await cli("context", "add", "prod")
    result = await cli(*arguments(EXAMPLES[subcommand]))
    assert result.code == 0, result.stderr
