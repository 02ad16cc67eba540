"""The examples of the help: each verb has one, and each is a command line that works."""

import shlex

import pytest

from jobworker_cli.examples import EXAMPLES
from tests.unit.cli.conftest import Cli, FakeServer


def words_of(example: str) -> list[str]:
    """The words behind `jobworker`, of the first command of the line."""
    command, *words = shlex.split(example.partition(" && ")[0])
    assert command == "jobworker"
    return words


@pytest.mark.parametrize("verb", EXAMPLES)
async def test_the_help_has_the_example(cli: Cli, verb: str) -> None:
    parents = ["context"] if EXAMPLES[verb].split("context ")[-1].startswith(verb) else []
    shown = (await cli(*parents, verb, "--help")).text
    assert shown.rstrip().endswith(f"Example:\n    {EXAMPLES[verb]}")


@pytest.mark.parametrize("verb", EXAMPLES)
async def test_the_example_works(cli: Cli, server: FakeServer, verb: str) -> None:
    for beginning in ("019a4c", "019a4d"):
        server.add(f"{beginning}00-0000-7000-8000-000000000001")
    await cli("context", "add", "prod")
    result = await cli(*words_of(EXAMPLES[verb]))
    assert result.code == 0, result.stderr
