"""Tests of names that users know from other programs."""

import pytest

from jobworker_cli.commands.known_names import SAME
from tests.unit.cli.conftest import JOB_ID, Cli


@pytest.mark.parametrize(
    ("typed", "command"), [("logs", "stream"), ("ps", "list"), ("kill", "stop --now"), ("describe", "get")]
)
async def test_a_name_of_another_program_leads_to_the_command(cli: Cli, typed: str, command: str) -> None:
    result = await cli(typed, "-f", JOB_ID)
    assert result.code == 2
    assert f"No such command '{typed}'; use `jobworker {command}`." in result.stderr


@pytest.mark.parametrize("command", sorted(set(SAME.values())))
async def test_the_command_exists(cli: Cli, command: str) -> None:
    name, *options = command.split()
    page = await cli(name, "--help")
    assert page.code == 0
    assert all(option in page.text for option in options if option.startswith("-"))
