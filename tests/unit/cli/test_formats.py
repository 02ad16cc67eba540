"""Tests of the output formats with each subcommand: `-o table|wide|json|jsonl|id`."""

import json
import re
from pathlib import Path

import grpc
import pytest

from jobworker.v1 import job_pb2
from jobworker_cli.errors import CliReason
from jobworker_client.errors import ClientReason
from tests.unit.cli.conftest import JOB_ID, Cli, CreateRequest, FakeServer, Refusal

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"
COMMANDS = [["create", "true"], ["get", JOB_ID], ["list"], ["stop", JOB_ID], ["wait", JOB_ID]]


@pytest.fixture(autouse=True)
def jobs(server: FakeServer) -> None:
    """Add two jobs; `create` returns the first."""

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return server.jobs[JOB_ID]

    job = server.add(owner="CN=admin", max_cpu=50, max_memory=64, log_size=2_048)
    job.labels["team"] = "data\x1b[31m"
    server.add(OTHER_ID)
    server.creating = creating


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
async def test_id_format_prints_only_ids(cli: Cli, words: list[str]) -> None:
    result = await cli(words[0], "-o", "id", *words[1:])
    assert result.code in {0, 143}, result.stderr
    assert result.text.splitlines() == ([JOB_ID, OTHER_ID] if words == ["list"] else [JOB_ID])


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
async def test_jsonl_prints_one_job_per_line(cli: Cli, words: list[str]) -> None:
    lines = (await cli(words[0], "-o", "jsonl", *words[1:])).text.splitlines()
    assert len(lines) == (2 if words == ["list"] else 1)
    assert json.loads(lines[0])["id"] == JOB_ID


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
async def test_json_is_an_object_or_an_array(cli: Cli, words: list[str]) -> None:
    found = json.loads((await cli(words[0], "-o", "json", *words[1:])).text)
    assert isinstance(found, dict if words[0] in {"create", "get"} else list)


async def test_wide_table_adds_columns_and_escapes_control_characters(cli: Cli) -> None:
    head, row, _ = (await cli("list", "-o", "wide")).text.splitlines()
    assert head.split()[5:] == ["OWNER", "CPU", "MEMORY", "OUTPUT", "LABELS", "COMMAND"]
    assert row.split()[5:] == ["CN=admin", "50%", "64", "MiB", "2", "KiB", r"team=data\x1b[31m", "true"]


async def test_wide_table_has_no_size_that_a_gateway_does_not_know(cli: Cli, server: FakeServer) -> None:
    job = server.jobs[JOB_ID]
    job.node, job.status = "node-1", job_pb2.JOB_STATUS_RUNNING
    _, running, _ = (await cli("list", "-o", "wide")).text.splitlines()
    assert running.split()[6:] == ["CN=admin", "50%", "64", "MiB", "-", r"team=data\x1b[31m", "true"]
    job.status = job_pb2.JOB_STATUS_COMPLETED
    assert "2 KiB" in (await cli("list", "-o", "wide")).text


@pytest.mark.parametrize("subcommand", ["create", "get", "stop", "wait"])
async def test_wide_equals_table_for_single_jobs(cli: Cli, subcommand: str) -> None:
    words = next(words for words in COMMANDS if words[0] == subcommand)
    wide, table = [(await cli(subcommand, "-o", output, *words[1:])).text for output in ("wide", "table")]
    assert wide == table


async def test_errors_with_jsonl_are_json(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJob"] = [Refusal(grpc.StatusCode.NOT_FOUND, "no", "JOB_NOT_FOUND")]
    result = await cli("get", "-o", "jsonl", JOB_ID)
    assert json.loads(result.stderr)["error"]["reason"] == "JOB_NOT_FOUND"


def test_documented_reasons_of_the_command_are_complete() -> None:
    text = " ".join((Path(__file__).parents[3] / "docs/cli.md").read_text().split())
    _, _, listed = text.partition("one of the command's own reasons: ")
    documented = re.findall(r"`([A-Z_]+)`", listed.partition(". ")[0])
    assert documented == [*ClientReason, *CliReason]
