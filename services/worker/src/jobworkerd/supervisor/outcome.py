"""Derives a job's final status and termination message from the wait status, the stop request and the
counters of the kernel. Nothing is guessed: exit code 137 is an exit code.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from jobworkerd.model import (
    AppliedLimit,
    Job,
    JobSpec,
    JobStatus,
    Termination,
    TerminationReason,
    Usage,
    transition,
)
from jobworkerd.signals import signal_name


@dataclass(frozen=True)
class StopRequest:
    """A request to stop a job, with the reason TIMED_OUT, STOPPED or EVICTED.

    `by` is the subject of the client that called StopJob; empty if the server shuts down. `message` says why
    the cluster evicts the job.
    """

    reason: TerminationReason
    by: str = ""
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """The final status of a job and its cause."""

    status: JobStatus
    exit_code: int | None
    termination: Termination


@dataclass(frozen=True)
class FinalStats:
    """The kernel's figures after the end of the main process. `leftovers` is true if it left processes."""

    usage: Usage
    limits: Sequence[AppliedLimit] = ()
    leftovers: bool = False

    def limit_value(self, name: str) -> str:
        """Return the value of a limit that the kernel held; empty if the limit was not set."""
        return next((limit.value for limit in self.limits if limit.limit == name), "")


def never_ran(job: Job, termination: Termination) -> Job:
    """Return the final record of a job that ended before its command ran."""
    stopped = termination.reason is TerminationReason.STOPPED
    return transition(
        job,
        JobStatus.STOPPED if stopped else JobStatus.FAILED,
        end_time_ns=max(time.time_ns(), job.create_time_ns),
        termination=termination,
    )


def final_job(job: Job, wait_status: int, request: StopRequest | None, stats: FinalStats) -> Job:
    """Return the final record of a job; see `outcome`."""
    ended = outcome(job.spec, wait_status, request, stats)
    return transition(
        job,
        ended.status,
        end_time_ns=max(time.time_ns(), job.start_time_ns or 0),
        pid=0,
        exit_code=ended.exit_code,
        termination=ended.termination,
        kill_pending=False,
        applied_limits=stats.limits,
        usage=stats.usage,
    )


def outcome(spec: JobSpec, wait_status: int, request: StopRequest | None, stats: FinalStats) -> Outcome:
    """Return how a job ended; `wait_status` is that of waitpid(2) for the main process."""
    exited = os.WIFEXITED(wait_status)
    exit_code = os.WEXITSTATUS(wait_status) if exited else None
    number = 0 if exited else os.WTERMSIG(wait_status)
    reason = _reason(number, request, stats.usage)
    ending = f"exited with code {exit_code}" if exited else f"ended by {signal_name(number)}"
    termination = Termination(
        reason=reason,
        signal=number,
        message=_message(reason, ending, spec, request, stats) + _denied_forks(spec, stats),
        leftovers_killed=stats.leftovers,
        oom_killed=bool(stats.usage.oom_kill_count),
        stopped_by=request.by if request else "",
    )
    return Outcome(_status(reason, exit_code), exit_code, termination)


def _reason(number: int, request: StopRequest | None, usage: Usage) -> TerminationReason:
    if request:
        return request.reason
    if number == signal.SIGKILL and usage.oom_kill_count:
        return TerminationReason.OOM_KILLED
    return TerminationReason.SIGNALED if number else TerminationReason.EXITED


def _message(
    reason: TerminationReason, ending: str, spec: JobSpec, request: StopRequest | None, stats: FinalStats
) -> str:
    match reason:
        case TerminationReason.OOM_KILLED if stats.usage.oom_count == 0:
            return "OOM-killed: the host, or a cgroup above the job's, had no memory left"
        case TerminationReason.OOM_KILLED:
            return f"OOM-killed: reached the memory limit of {_memory_limit(spec, stats)} MiB"
        case TerminationReason.TIMED_OUT:
            return f"reached the timeout of {spec.timeout:g} s; {ending}"
        case TerminationReason.STOPPED:
            assert request
            return f"stopped by {request.by or 'the shutdown of the server'}; {ending}"
        case TerminationReason.EVICTED:
            assert request
            return f"{request.message}; {ending}"
        case _:
            return ending


def _memory_limit(spec: JobSpec, stats: FinalStats) -> str:
    """Return the limit that the kernel held, in MiB; another program may have changed it."""
    value = stats.limit_value("max_memory")
    return f"{int(value) / (1 << 20):g}" if value.isdecimal() else str(spec.limits.max_memory)


def _denied_forks(spec: JobSpec, stats: FinalStats) -> str:
    """Return a note on failed forks: a command that cannot fork may end with any exit code."""
    if not (count := stats.usage.pids_denied_count):
        return ""
    times = "1 fork" if count == 1 else f"{count} forks"
    value = stats.limit_value("max_pids")
    limit = int(value) if value.isdecimal() else spec.limits.max_pids
    which = f"max_pids: {limit}" if limit else "a limit above the job's cgroup"
    return f"; the kernel denied {times} ({which})"


def _status(reason: TerminationReason, exit_code: int | None) -> JobStatus:
    if reason in {TerminationReason.STOPPED, TerminationReason.EVICTED}:
        return JobStatus.STOPPED
    if reason is TerminationReason.EXITED and exit_code == 0:
        return JobStatus.COMPLETED
    return JobStatus.FAILED
