"""Tests of job references: a full id, or a unique prefix."""

import json

import grpc
import pytest

from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def test_full_id_needs_no_lookup(cli: Cli, server: FakeServer) -> None:
    server.add()
    result = await cli("get", JOB_ID.upper())
    assert result.code == 0, result.stderr
    assert JOB_ID in result.text
    assert not server.listed


async def test_unique_prefix_selects_the_job(cli: Cli, server: FakeServer) -> None:
    server.add()
    result = await cli("get", JOB_ID[:8].upper())
    assert result.code == 0, result.stderr
    assert JOB_ID in result.text
    assert server.listed[0].id_prefix == JOB_ID[:8]


async def test_ambiguous_prefix_lists_the_ids(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.add(OTHER_ID)
    result = await cli("get", JOB_ID[:8])
    assert result.code == 1
    assert JOB_ID in result.stderr
    assert OTHER_ID in result.stderr
    assert "hint: use a longer prefix" in result.stderr


@pytest.mark.parametrize(("subcommand", "code"), [("get", 1), ("stop", 1), ("stream", 125), ("wait", 125)])
async def test_unknown_prefix_is_reported(cli: Cli, server: FakeServer, subcommand: str, code: int) -> None:
    server.add()
    result = await cli(subcommand, "12345")
    assert result.code == code
    assert result.stderr.splitlines() == [
        'error: no job id begins with "12345" (JOB_NOT_FOUND)',
        "hint: `jobworker list` shows the jobs of the server",
    ]
    assert result.stdout == b""


async def test_error_with_json_output_is_json(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJob"] = [
        Refusal(grpc.StatusCode.NOT_FOUND, "there is no job", "JOB_NOT_FOUND", {"job_id": JOB_ID})
    ]
    result = await cli("get", "-o", "json", JOB_ID)
    assert result.code == 1
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "JOB_NOT_FOUND")
    assert error["metadata"] == {"job_id": JOB_ID}
