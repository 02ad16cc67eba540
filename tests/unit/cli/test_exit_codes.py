"""Tests of the exit codes of `stream`, `wait` and `run` for each end of a job."""

import signal
from collections.abc import Awaitable, Callable

import pytest

from jobworker.v1 import error_reason_pb2, job_pb2
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


async def test_lost_job_of_a_cluster_has_its_cause_in_the_sentence(cli: Cli, server: FakeServer) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_LOST)
    job.ClearField("exit_code")
    job.termination.message = "the cluster lost node node-1; the result of the job is unknown"
    completed = await cli("stream", JOB_ID)
    assert completed.stderr == f"error: job {JOB_ID} is lost: {job.termination.message} (JOB_LOST)\n"


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


@pytest.mark.parametrize("subcommand", ["stream", "wait", "run"])
@pytest.mark.parametrize(
    ("field", "errno", "code"),
    [
        ("command", "ENOENT", 127),
        ("command", "EACCES", 126),
        ("command", "", 126),
        ("working_directory", "ENOENT", 125),
        ("args", "E2BIG", 125),
    ],
)
async def test_command_that_a_queued_job_could_not_start_has_the_exit_code_of_a_shell(
    cli: Cli, server: FakeServer, subcommand: str, field: str, errno: str, code: int
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_FAILED)
    job.ClearField("exit_code")
    job.termination.reason = job_pb2.TERMINATION_REASON_NOT_STARTED
    job.termination.message = f"cannot run it ({errno})"
    job.termination.start_error.reason = error_reason_pb2.ERROR_REASON_COMMAND_NOT_STARTED
    job.termination.start_error.field = field
    job.termination.start_error.errno_name = errno
    server.creating = returning(job)
    completed = await cli(subcommand, "nope" if subcommand == "run" else JOB_ID)
    assert completed.code == code
    error, hint = completed.stderr.splitlines()
    assert error == f"error: cannot run it ({errno}) (COMMAND_NOT_STARTED)"
    assert hint.startswith("hint: the job uses the files of its host")


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (
            error_reason_pb2.ERROR_REASON_LIMIT_UNAVAILABLE,
            "error: no controller (LIMIT_UNAVAILABLE)\nhint: use --best-effort to run the job without",
        ),
        (error_reason_pb2.ERROR_REASON_HOST_EXHAUSTED, "error: no controller (HOST_EXHAUSTED)\n"),
        (987, "error: no controller\n"),
    ],
)
async def test_another_error_of_the_start_exits_with_125(
    cli: Cli, server: FakeServer, reason: error_reason_pb2.ErrorReason.ValueType, error: str
) -> None:
    job = server.add(status=job_pb2.JOB_STATUS_FAILED)
    job.ClearField("exit_code")
    job.termination.reason = job_pb2.TERMINATION_REASON_NOT_STARTED
    job.termination.message = "no controller"
    job.termination.start_error.reason = reason
    server.creating = returning(job)
    completed = await cli("run", "true")
    assert completed.code == 125
    assert completed.stderr.startswith(error)


def returning(job: job_pb2.Job) -> Callable[[CreateRequest], Awaitable[job_pb2.Job]]:
    """Return a handler of CreateJob that returns the job."""

    async def creating(_: CreateRequest) -> job_pb2.Job:
        return job

    return creating
