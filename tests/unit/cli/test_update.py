"""Tests of `jobworker update`: only the given limits change."""

import json

import grpc

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal


async def test_only_given_limits_are_sent(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    result = await cli("update", JOB_ID, "--max-memory=256")
    assert result.code == 0, result.stderr
    assert "Memory limit   256 MiB" in result.text
    [request] = server.updated
    assert {field.name: value for field, value in request.ListFields()} == {"id": JOB_ID, "max_memory": 256}


async def test_zero_and_empty_are_sent(cli: Cli, server: FakeServer) -> None:
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


async def test_update_needs_a_limit(cli: Cli, server: FakeServer) -> None:
    result = await cli("update", JOB_ID)
    assert result.code == 2
    assert "no limit is given" in result.stderr
    assert not server.updated


async def test_a_limit_that_is_not_possible_is_reported_with_a_hint(cli: Cli, server: FakeServer) -> None:
    why = "max_memory cannot be enforced: 128 MiB is more than the 64 MiB that the cluster has reserved"
    refusal = Refusal(grpc.StatusCode.FAILED_PRECONDITION, why, "LIMIT_UNAVAILABLE")
    server.refusals["UpdateJob"] = [refusal]
    result = await cli("update", JOB_ID, "--max-memory=128")
    assert result.code == 1
    hint = f"hint: `jobworker get {JOB_ID}` shows the limits of the job"
    assert result.stderr == f"error: {why} (LIMIT_UNAVAILABLE)\n{hint}\n"


async def test_ended_job_is_reported_with_a_hint(cli: Cli, server: FakeServer) -> None:
    refusal = Refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "job x is not running: it is completed", "JOB_NOT_RUNNING"
    )
    server.refusals["UpdateJob"] = [refusal]
    result = await cli("update", JOB_ID, "--max-cpu=5")
    assert result.code == 1
    assert "error: job x is not running" in result.stderr
    assert "hint: `jobworker list --status running`" in result.stderr
