"""Completion in bash, zsh and fish: what the shells' scripts ask the command, and what they get."""

from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, Completed, FakeServer, Listening, finished

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def complete(cli: Cli, shell: str, line: str) -> Completed:
    """Asks for the completions of a line as the shell's script does."""
    cli.env["_JOBWORKER_COMPLETE"] = f"complete_{shell}"
    if shell == "bash":
        cli.env |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    else:
        cli.env |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return await finished(await cli.start())


@pytest.fixture(autouse=True)
def jobs(server: FakeServer) -> None:
    """A job that runs, whose command is meant to be evaluated, and one that has ended."""
    server.add(status=job_pb2.JOB_STATUS_RUNNING).command = "$(touch evaluated)'\"`"
    server.add(OTHER_ID)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("verb", ["get", "stream", "wait"])
async def test_ids_are_completed(cli: Cli, server: FakeServer, shell: str, verb: str) -> None:
    result = await complete(cli, shell, f"jobworker {verb} 0199f")
    assert (result.code, result.stderr) == (0, "")
    assert JOB_ID in result.text
    assert OTHER_ID in result.text
    assert "evaluated" not in result.text
    assert server.listed[0].id_prefix == "0199f"


async def test_what_can_be_stopped_is_what_runs(cli: Cli, server: FakeServer) -> None:
    await complete(cli, "bash", "jobworker stop ")
    assert list(server.listed[0].statuses) == [job_pb2.JOB_STATUS_RUNNING]
    await complete(cli, "bash", "jobworker get ")
    assert not server.listed[1].statuses


async def test_the_options_before_the_verb_count(cli: Cli, listening: Listening) -> None:
    cli.env["JOBWORKER_SERVER"] = "localhost:1"
    line = f"jobworker --server localhost:{listening.port} get "
    assert JOB_ID in (await complete(cli, "bash", line)).text


async def test_what_is_no_id_is_not_handed_to_the_shell(cli: Cli, server: FakeServer) -> None:
    server.add("$(touch evaluated)")
    assert "evaluated" not in (await complete(cli, "bash", "jobworker get ")).text


async def test_a_server_that_is_not_there_is_no_talk(cli: Cli, listening: Listening, tmp_path: Path) -> None:
    await listening.stop()
    result = await complete(cli, "bash", "jobworker get 01")
    assert (result.text.strip(), result.stderr) == ("", "")
    cli.env["JOBWORKER_CERTS"] = str(tmp_path / "nowhere")
    result = await complete(cli, "bash", "jobworker get 01")
    assert (result.text.strip(), result.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_shells_script_is_printed(cli: Cli, shell: str) -> None:
    cli.env["_JOBWORKER_COMPLETE"] = f"source_{shell}"
    result = await finished(await cli.start())
    assert f"complete_{shell}" in result.text
