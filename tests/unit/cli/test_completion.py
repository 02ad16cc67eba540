"""Tests of completion in bash, zsh and fish, called as the scripts of the shells do."""

from pathlib import Path

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, Completed, Endpoint, FakeServer, finished

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def complete(cli: Cli, shell: str, line: str) -> Completed:
    """Complete a line like the script of the shell."""
    cli.env["_JOBWORKER_COMPLETE"] = f"complete_{shell}"
    if shell == "bash":
        cli.env |= {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    else:
        cli.env |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return await finished(await cli.start())


@pytest.fixture(autouse=True)
def jobs(server: FakeServer) -> None:
    """Add a running job whose command would run if a shell evaluated it, and an ended job."""
    server.add(status=job_pb2.JOB_STATUS_RUNNING).command = "$(touch evaluated)'\"`"
    server.add(OTHER_ID)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("subcommand", ["get", "stream", "wait"])
async def test_job_ids_are_completed(cli: Cli, server: FakeServer, shell: str, subcommand: str) -> None:
    result = await complete(cli, shell, f"jobworker {subcommand} 0199f")
    assert (result.code, result.stderr) == (0, "")
    assert JOB_ID in result.text
    assert OTHER_ID in result.text
    assert "evaluated" not in result.text
    assert server.listed[0].id_prefix == "0199f"


async def test_stop_completes_queued_and_running_jobs_only(cli: Cli, server: FakeServer) -> None:
    await complete(cli, "bash", "jobworker stop ")
    assert list(server.listed[0].statuses) == [job_pb2.JOB_STATUS_QUEUED, job_pb2.JOB_STATUS_RUNNING]
    await complete(cli, "bash", "jobworker get ")
    assert not server.listed[1].statuses


async def test_delete_completes_ended_jobs_only(cli: Cli, server: FakeServer) -> None:
    await complete(cli, "bash", "jobworker delete ")
    names = {job_pb2.JobStatus.Name(status) for status in server.listed[0].statuses}
    assert names == {f"JOB_STATUS_{name}" for name in ("COMPLETED", "FAILED", "STOPPED", "LOST")}


async def test_completion_uses_global_options(cli: Cli, endpoint: Endpoint) -> None:
    cli.env["JOBWORKER_SERVER"] = "localhost:1"
    line = f"jobworker --server localhost:{endpoint.port} get "
    assert JOB_ID in (await complete(cli, "bash", line)).text


async def test_invalid_id_is_not_passed_to_the_shell(cli: Cli, server: FakeServer) -> None:
    server.add("$(touch evaluated)")
    assert "evaluated" not in (await complete(cli, "bash", "jobworker get ")).text


async def test_unreachable_server_prints_nothing(cli: Cli, endpoint: Endpoint, tmp_path: Path) -> None:
    await endpoint.stop()
    result = await complete(cli, "bash", "jobworker get 01")
    assert (result.text.strip(), result.stderr) == ("", "")
    cli.env["JOBWORKER_CERTS"] = str(tmp_path / "nowhere")
    result = await complete(cli, "bash", "jobworker get 01")
    assert (result.text.strip(), result.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_script_of_the_shell_is_printed(cli: Cli, shell: str) -> None:
    cli.env["_JOBWORKER_COMPLETE"] = f"source_{shell}"
    result = await finished(await cli.start())
    assert f"complete_{shell}" in result.text
