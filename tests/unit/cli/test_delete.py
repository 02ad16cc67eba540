"""Tests of `jobworker delete`: several jobs, one exit code."""

import grpc

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, FakeServer, Refusal

OTHER_ID = "0199f3a0-0000-7000-8000-000000000002"


async def test_ids_of_deleted_jobs_are_printed(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.add(OTHER_ID)
    result = await cli("delete", OTHER_ID[:-1] + "2", JOB_ID)
    assert (result.code, result.stderr) == (0, "")
    assert sorted(result.text.splitlines()) == [JOB_ID, OTHER_ID]
    assert not server.jobs


async def test_prefix_selects_the_job(cli: Cli, server: FakeServer) -> None:
    server.add()
    assert (await cli("delete", "0199f")).text == f"{JOB_ID}\n"


async def test_other_jobs_are_deleted_after_an_error(cli: Cli, server: FakeServer) -> None:
    server.add(status=job_pb2.JOB_STATUS_RUNNING)
    server.add(OTHER_ID)
    result = await cli("delete", "0000", JOB_ID, OTHER_ID)
    assert (result.code, result.text) == (1, f"{OTHER_ID}\n")
    assert result.stderr.splitlines() == [
        'error: no job id begins with "0000" (JOB_NOT_FOUND)',
        "hint: `jobworker list` shows the jobs of the server",
        f"error: job {JOB_ID} is running (JOB_NOT_FINAL)",
        "hint: stop the job with `jobworker stop`, or wait for its end with `jobworker wait`",
    ]


async def test_delete_outlasts_a_restart(cli: Cli, server: FakeServer) -> None:
    server.add()
    server.refusals["DeleteJob"] = [Refusal(grpc.StatusCode.UNAVAILABLE, "restarting")]
    assert (await cli("delete", JOB_ID)).code == 0
    assert server.deleted == [JOB_ID, JOB_ID]
