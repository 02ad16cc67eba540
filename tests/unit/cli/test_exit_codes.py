"""Tests of the exit codes of `stream`, `wait` and `run` for each end of a job."""

import signal
from collections.abc import Awaitable, Callable

import pytest

from jobworker.v1 import job_pb2
from tests.unit.cli.conftest import JOB_ID, Cli, CreateRequest, FakeServer, end_by_signal

LOST = "lost: the host restarted while the job ran, so its result is unknown"


@pytest.mark.parametrize(
    ("number", "reason", "code"),
    [
        (signal.SIGKILL, job_pb2.TERMINATION_REASON_OOM_KILLED, 137),
        (signal.SIGTERM, job_pb2.TERMINATION_REASON_STOPPED, 143),
        (signal.SIGSEGV, job_pb2.TERMINATION_REASON_SIGNALED, 139),
    ],
)
async def test_job_ended_by_a_signal_exits_with_128_plus_its_number(
    cli: Cli,
    server: FakeServer,
    number: signal.Signals,
    reason: job_pb2.TerminationReason.ValueType,
    code: int,
) -> None:
    end_by_signal(server.add(), number, reason, "it ended like this")
    completed = await cli("stream", JOB_ID)
    assert completed.code == code
    assert completed.stderr == "jobworker: it ended like this\n"


async def test_lost_job_exits_with_125(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_LOST)
    job.ClearField("exit_code")
    job.ClearField("termination")
    completed = await cli("stream", JOB_ID)
    assert completed.code == 125
    assert completed.stderr == (
        f"error: job {JOB_ID} is lost: "
        "the server or its host died while the job ran, so its result is unknown (JOB_LOST)\n"
    )


@pytest.mark.parametrize("subcommand", ["stream", "wait", "run"])
async def test_sentence_of_a_lost_job_is_printed_once(cli: Cli, server: FakeServer, subcommand: str) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_LOST)
    job.ClearField("exit_code")
    job.termination.reason = job_pb2.TERMINATION_REASON_LOST
    job.termination.message = LOST
    server.creating = returning(job)
    completed = await cli(subcommand, "true" if subcommand == "run" else JOB_ID)
    assert completed.code == 125
    assert completed.stderr == (f"error: job {JOB_ID} is {LOST} (JOB_LOST)\n")


async def test_get_shows_the_sentence_of_a_lost_job(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_LOST)
    job.termination.reason = job_pb2.TERMINATION_REASON_LOST
    job.termination.message = LOST
    completed = await cli("get", JOB_ID)
    assert completed.code == 0
    assert "LOST" in completed.text
    assert LOST in completed.text


@pytest.mark.parametrize("subcommand", ["stream", "wait", "run"])
@pytest.mark.parametrize(("end", "code"), [(0, 0), (3, 3), (signal.SIGTERM, 143), (signal.SIGKILL, 137)])
async def test_timed_out_job_exits_with_124_or_its_own_code(
    cli: Cli, server: FakeServer, subcommand: str, end: int, code: int
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_FAILED, exit_code=end)
    if isinstance(end, signal.Signals):
        end_by_signal(job, end, job_pb2.TERMINATION_REASON_TIMED_OUT, "late")
    job.termination.reason = job_pb2.TERMINATION_REASON_TIMED_OUT
    server.creating = returning(job)
    what = "true" if subcommand == "run" else JOB_ID
    assert (await cli(subcommand, what)).code == 124
    assert (await cli(subcommand, "--preserve-status", what)).code == code


def returning(job: job_pb2.Job) -> Callable[[CreateRequest], Awaitable[job_pb2.Job]]:
    """Return a handler of CreateJob that returns the job."""

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return job

    return creating
