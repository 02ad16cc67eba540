"""Tests of `jobworker prune`: which jobs it deletes, and the question before."""

import asyncio
import os
import pty
import signal
from asyncio.subprocess import Process
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import Cli, FakeServer, Refusal, finished

QUESTION = b"Delete 2 jobs with 3 KiB of output? [y/N] "


def job_id(days: float) -> str:
    """Return the id of the job that ended so many days ago."""
    return f"0199f3a0-0000-7000-8000-{int(days * 100):012}"


@pytest.fixture(autouse=True)
def jobs(server: FakeServer) -> None:
    """Add a running job and jobs that ended 1, 8 and 9 days ago. All were created 10 days ago."""
    now = datetime.now(UTC)
    for days in (1, 8, 9):
        job = server.add(job_id(days), log_size=1536)
        job.create_time.FromDatetime(now - timedelta(days=10))
        job.end_time.FromDatetime(now - timedelta(days=days))
    server.add(status=job_pb2.JOB_STATUS_RUNNING).create_time.FromDatetime(now - timedelta(days=10))


async def test_jobs_that_ended_before_are_deleted(cli: Cli, server: FakeServer) -> None:
    result = await cli("prune", "--older-than", "7d", "--yes")
    assert (result.code, result.stderr) == (0, "jobworker: deleted 2 jobs with 3 KiB of output\n")
    assert set(result.text.splitlines()) == set(server.deleted) == {job_id(8), job_id(9)}


async def test_filters_are_sent(cli: Cli, server: FakeServer) -> None:
    result = await cli("prune", "--older-than=2026-03-01T17:04:05Z", "-s", "lost", "-l", "team=data", "-y")
    assert (result.code, result.stderr) == (0, "jobworker: deleted 0 jobs with 0 B of output\n")
    [request] = server.listed
    assert list(request.statuses) == [job_pb2.JOB_STATUS_LOST]
    assert dict(request.labels) == {"team": "data"}
    assert request.created_before.ToJsonString() == "2026-03-01T17:04:05Z"


async def test_only_ended_jobs_are_requested(cli: Cli, server: FakeServer) -> None:
    await cli("prune", "--older-than", "0", "--dry-run")
    assert {job_pb2.JobStatus.Name(status) for status in server.listed[0].statuses} == {
        "JOB_STATUS_COMPLETED",
        "JOB_STATUS_FAILED",
        "JOB_STATUS_STOPPED",
        "JOB_STATUS_LOST",
    }


async def test_dry_run_deletes_nothing(cli: Cli, server: FakeServer) -> None:
    result = await cli("prune", "--older-than", "7d", "--dry-run")
    assert (result.code, result.stderr) == (0, "jobworker: would delete 2 jobs with 3 KiB of output\n")
    assert set(result.text.splitlines()) == {job_id(8), job_id(9)}
    assert not server.deleted


async def test_without_a_terminal_it_needs_yes(cli: Cli, server: FakeServer) -> None:
    result = await cli("prune", "--older-than", "7d")
    assert (result.code, result.text) == (1, "")
    assert result.stderr == (
        "error: 2 jobs with 3 KiB of output would be deleted, but stdin is not a terminal to ask on\n"
        "hint: use --yes to delete without asking, or --dry-run to see the jobs\n"
    )
    assert not server.deleted


async def test_nothing_to_delete_needs_no_answer(cli: Cli) -> None:
    result = await cli("prune", "--older-than", "100d")
    assert (result.code, result.stderr) == (0, "jobworker: deleted 0 jobs with 0 B of output\n")


async def test_job_that_another_client_deleted_is_ignored(cli: Cli, server: FakeServer) -> None:
    server.refusals["DeleteJob"] = [Refusal(grpc.StatusCode.NOT_FOUND, "no such job", "JOB_NOT_FOUND")]
    result = await cli("prune", "--older-than", "7d", "--yes")
    assert (result.code, result.stderr) == (0, "jobworker: deleted 1 job with 1.5 KiB of output\n")
    assert len(result.text.splitlines()) == 1


@pytest.mark.parametrize("age", ["7days", "", "-1d"])
async def test_invalid_age_is_a_usage_error(cli: Cli, server: FakeServer, age: str) -> None:
    result = await cli("prune", f"--older-than={age}")
    assert result.code == 2
    assert "--older-than" in result.stderr
    assert not server.listed


async def test_age_is_required(cli: Cli) -> None:
    assert (await cli("prune")).code == 2


async def ask(cli: Cli) -> tuple[Process, int]:
    """Start the command on a terminal and return it when it has asked, with the other end of the terminal."""
    ours, theirs = pty.openpty()
    process = await cli.start("prune", "--older-than", "7d", stdin=theirs)
    os.close(theirs)
    assert process.stderr
    assert await process.stderr.readexactly(len(QUESTION)) == QUESTION
    return process, ours


@pytest.mark.parametrize(("answer", "deleted"), [("y", 2), ("YES", 2), ("", 0), ("n", 0), ("yep", 0)])
async def test_answer_decides(cli: Cli, server: FakeServer, answer: str, deleted: int) -> None:
    process, terminal = await ask(cli)
    os.write(terminal, f"{answer}\n".encode())
    result = await finished(process)
    os.close(terminal)
    assert (result.code, len(server.deleted)) == (0 if deleted else 1, deleted)
    assert deleted or result.stderr == "jobworker: deleted nothing\n"


async def test_ctrl_c_at_the_question_deletes_nothing(cli: Cli, server: FakeServer) -> None:
    process, terminal = await ask(cli)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(20):
        assert (await finished(process)).code == 130
    os.close(terminal)
    assert not server.deleted
