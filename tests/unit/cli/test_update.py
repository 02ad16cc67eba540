"""`jobworker update`: what is given is changed, and nothing else."""

import json

import grpc

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal


async def test_only_what_is_given_reaches_the_request(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    result = await cli("update", JOB_ID, "--max-memory=256")
    assert result.code == 0, result.stderr
    assert "Memory limit   256 MiB" in result.text
    [request] = server.updated
    assert {field.name: value for field, value in request.ListFields()} == {"id": JOB_ID, "max_memory": 256}


async def test_zero_and_nothing_are_values_too(cli: Cli, server: FakeServer) -> None:
    server.add()
    options = ("--max-cpu=5", "--max-io-bps=0", "--max-io-iops=7", "--max-pids=8", "--cpu-weight=0")
    result = await cli("update", JOB_ID[:8], *options, "--cpu-set=", "-o", "json")
    assert json.loads(result.text)["id"] == JOB_ID
    [request] = server.updated
    assert {field.name: value for field, value in request.ListFields()} == {
        "id": JOB_ID,
        "max_cpu": 5,
        "max_io_bps": 0,
        "max_io_iops": 7,
        "max_pids": 8,
        "cpu_weight": 0,
        "cpu_set": "",
    }


async def test_without_a_limit_there_is_nothing_to_do(cli: Cli, server: FakeServer) -> None:
    result = await cli("update", JOB_ID)
    assert result.code == 2
    assert "give at least one limit" in result.stderr
    assert not server.updated


async def test_a_job_that_has_ended_is_told_with_a_hint(cli: Cli, server: FakeServer) -> None:
    refusal = Refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "job x is not running: it is completed", "JOB_NOT_RUNNING"
    )
    server.refusals["UpdateJob"] = [refusal]
    result = await cli("update", JOB_ID, "--max-cpu=5")
    assert result.code == 1
    assert "error: job x is not running" in result.stderr
    assert "hint: `jobworker list --status running`" in result.stderr
