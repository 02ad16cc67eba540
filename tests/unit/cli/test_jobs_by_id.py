"""How a job is named: by its whole id, or by a beginning that only one job has."""

import json

import grpc
import pytest

from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def test_a_whole_id_is_used_without_a_look_up(cli: Cli, server: FakeServer) -> None:
    server.add()
    result = await cli("get", JOB_ID.upper())
    assert result.code == 0, result.stderr
    assert JOB_ID in result.text
    assert not server.listed


async def test_a_beginning_of_one_id_is_enough(cli: Cli, server: FakeServer) -> None:
    server.add()
    result = await cli("get", JOB_ID[:8].upper())
    assert result.code == 0, result.stderr
    assert JOB_ID in result.text
    assert server.listed[0].id_prefix == JOB_ID[:8]


async def test_a_beginning_of_two_ids_names_both(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.add(OTHER_ID)
    result = await cli("get", JOB_ID[:8])
    assert result.code == 1
    assert JOB_ID in result.stderr
    assert OTHER_ID in result.stderr
    assert "hint: give more of the id" in result.stderr


@pytest.mark.parametrize(("verb", "code"), [("get", 1), ("stop", 1), ("stream", 125), ("wait", 125)])
async def test_a_beginning_of_no_id_is_one_sentence(
    cli: Cli, server: FakeServer, verb: str, code: int
) -> None:
    server.add()
    result = await cli(verb, "12345")
    assert result.code == code
    assert result.stderr.splitlines() == [
        'error: no job "12345" (JOB_NOT_FOUND)',
        "hint: `jobworker list` shows the jobs that the server knows",
    ]
    assert result.stdout == b""


async def test_with_json_output_an_error_is_json(cli: Cli, server: FakeServer) -> None:
    server.refusals["GetJob"] = [
        Refusal(grpc.StatusCode.NOT_FOUND, "there is no job", "JOB_NOT_FOUND", {"job_id": JOB_ID})
    ]
    result = await cli("get", "-o", "json", JOB_ID)
    assert result.code == 1
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "JOB_NOT_FOUND")
    assert error["metadata"] == {"job_id": JOB_ID}
