"""Outcomes of jobs: each kind of end, and ends that resemble another kind."""

import signal

import pytest

from jobworkerd.model import (
    AppliedLimit,
    JobSpec,
    JobStatus,
    Limits,
    LimitsPolicy,
    Termination,
    TerminationReason,
    Usage,
)
from jobworkerd.signals import signal_name
from jobworkerd.supervisor.outcome import FinalStats, StopRequest, outcome

SPEC = JobSpec(
    command="true",
    limits=Limits(max_cpu=10, max_memory=64, max_io_bps=0, max_pids=0),
    limits_policy=LimitsPolicy.BEST_EFFORT,
    timeout=1.5,
    stop_signal=15,
    stop_grace_period=1.0,
    owner="CN=alice",
)
STOP = StopRequest(TerminationReason.STOPPED, by="CN=bob")
TIMEOUT = StopRequest(TerminationReason.TIMED_OUT)
SHUTDOWN = StopRequest(TerminationReason.STOPPED)
OOM = Usage(oom_count=1, oom_kill_count=1)
HOST_OOM = Usage(oom_count=0, oom_kill_count=1)
NO_OOM = Usage(oom_count=0, oom_kill_count=0)
UNKNOWN = Usage()

EXITED, SIGNALED = TerminationReason.EXITED, TerminationReason.SIGNALED
OOM_KILLED, TIMED_OUT = TerminationReason.OOM_KILLED, TerminationReason.TIMED_OUT
STOPPED = TerminationReason.STOPPED


def exited(code: int) -> int:
    """Return the wait status of Linux for an exit."""
    return code << 8


CASES = {
    "code 0": (exited(0), None, NO_OOM, JobStatus.COMPLETED, EXITED, "exited with code 0"),
    "code 3": (exited(3), None, NO_OOM, JobStatus.FAILED, EXITED, "exited with code 3"),
    "code 137 is an exit code": (exited(137), None, OOM, JobStatus.FAILED, EXITED, "exited with code 137"),
    "a signal": (15, None, NO_OOM, JobStatus.FAILED, SIGNALED, "ended by SIGTERM"),
    "a signal, with a core": (11 | 0x80, None, NO_OOM, JobStatus.FAILED, SIGNALED, "ended by SIGSEGV"),
    "killed": (9, None, NO_OOM, JobStatus.FAILED, SIGNALED, "ended by SIGKILL"),
    "killed, without figures": (9, None, UNKNOWN, JobStatus.FAILED, SIGNALED, "ended by SIGKILL"),
    "out of memory": (
        9,
        None,
        OOM,
        JobStatus.FAILED,
        OOM_KILLED,
        "OOM-killed: reached the memory limit of 64 MiB",
    ),
    "out of the host's memory": (
        9,
        None,
        HOST_OOM,
        JobStatus.FAILED,
        OOM_KILLED,
        "OOM-killed: the host, or a cgroup above the job's, had no memory left",
    ),
    "a child out of memory, then SIGTERM": (15, None, OOM, JobStatus.FAILED, SIGNALED, "ended by SIGTERM"),
    "a child out of memory, then code 0": (
        exited(0),
        None,
        OOM,
        JobStatus.COMPLETED,
        EXITED,
        "exited with code 0",
    ),
    "stopped": (15, STOP, NO_OOM, JobStatus.STOPPED, STOPPED, "stopped by CN=bob; ended by SIGTERM"),
    "stopped, and exited": (
        exited(0),
        STOP,
        NO_OOM,
        JobStatus.STOPPED,
        STOPPED,
        "stopped by CN=bob; exited with code 0",
    ),
    "stopped by the server": (
        15,
        SHUTDOWN,
        NO_OOM,
        JobStatus.STOPPED,
        STOPPED,
        "stopped by the shutdown of the server; ended by SIGTERM",
    ),
    "stopped beats out of memory": (
        9,
        STOP,
        OOM,
        JobStatus.STOPPED,
        STOPPED,
        "stopped by CN=bob; ended by SIGKILL",
    ),
    "timeout": (
        15,
        TIMEOUT,
        NO_OOM,
        JobStatus.FAILED,
        TIMED_OUT,
        "reached the timeout of 1.5 s; ended by SIGTERM",
    ),
    "timeout, and exited with 0": (
        exited(0),
        TIMEOUT,
        NO_OOM,
        JobStatus.FAILED,
        TIMED_OUT,
        "reached the timeout of 1.5 s; exited with code 0",
    ),
}


@pytest.mark.parametrize(
    ("wait_status", "stop", "usage", "status", "reason", "message"), CASES.values(), ids=CASES
)
def test_outcome(
    wait_status: int,
    stop: StopRequest | None,
    usage: Usage,
    status: JobStatus,
    reason: TerminationReason,
    message: str,
) -> None:
    found = outcome(SPEC, wait_status, stop, FinalStats(usage))
    number = wait_status & 0x7F
    assert found.status is status
    assert found.exit_code == (None if number else wait_status >> 8)
    assert found.termination == Termination(
        reason=reason,
        signal=number,
        message=message,
        oom_killed=usage in {OOM, HOST_OOM},
        stopped_by="CN=bob" if stop is STOP else "",
    )


def test_leftovers() -> None:
    assert outcome(SPEC, 0, None, FinalStats(NO_OOM, leftovers=True)).termination.leftovers_killed


@pytest.mark.parametrize(
    ("wait_status", "count", "ending"),
    [
        (exited(254), 12, "exited with code 254; the kernel denied 12 forks"),
        (15, 1, "ended by SIGTERM; the kernel denied 1 fork"),
    ],
)
def test_the_message_names_the_process_limit(wait_status: int, count: int, ending: str) -> None:
    usage = Usage(pids_denied_count=count)
    limits = (AppliedLimit(limit="max_pids", in_force=True, file="pids.max", value="20"),)
    message = outcome(SPEC, wait_status, None, FinalStats(usage, limits)).termination.message
    assert message.endswith(f"{ending} (max_pids: 20)")


def test_a_job_without_a_process_limit_reached_a_limit_above_it() -> None:
    message = outcome(SPEC, 0, None, FinalStats(Usage(pids_denied_count=2))).termination.message
    assert message.endswith("; the kernel denied 2 forks (a limit above the job's cgroup)")


@pytest.mark.parametrize(("held", "limit"), [("33554432", "32"), ("1572864", "1.5"), ("", "64")])
def test_the_message_names_the_memory_limit_that_the_kernel_held(held: str, limit: str) -> None:
    limits = (AppliedLimit(limit="max_memory", in_force=False, value=held, reason="changed"),)
    ended = outcome(SPEC, 9, None, FinalStats(OOM, limits))
    assert ended.termination.message == f"OOM-killed: reached the memory limit of {limit} MiB"


@pytest.mark.parametrize(
    ("number", "name"),
    [(9, "SIGKILL"), (signal.SIGRTMIN, "SIGRTMIN"), (signal.SIGRTMIN + 3, "SIGRTMIN+3")],
)
def test_signal_names(number: int, name: str) -> None:
    assert signal_name(number) == name
