"""What a job's end means: from the wait status, the stop that was asked for and the kernel's counts to
the final status and a sentence. It infers nothing: an exit code of 137 is an exit code.
"""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from jobworkerd.model import AppliedLimit, JobSpec, JobStatus, Termination, TerminationReason, Usage
from jobworkerd.signals import signal_name


@dataclass(frozen=True)
class Intent:
    """That the server ends the job, and why: TIMED_OUT or STOPPED.

    `by` is the subject who asked for the stop; empty if the server itself does, which shuts down.
    """

    reason: TerminationReason
    by: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    status: JobStatus
    exit_code: int | None
    termination: Termination


@dataclass(frozen=True)
class Remains:
    """What the kernel says once the main process has ended; `processes`: whether it left others."""

    usage: Usage
    limits: Sequence[AppliedLimit] = ()
    processes: bool = False

    def held(self, name: str) -> str:
        """Returns the kernel's value of a limit; empty if it held none."""
        return next((limit.value for limit in self.limits if limit.limit == name), "")


def outcome(spec: JobSpec, wait_status: int, intent: Intent | None, left: Remains) -> Outcome:
    """Returns what became of a job; `wait_status` is waitpid(2)'s of the main process."""
    exited = os.WIFEXITED(wait_status)
    exit_code = os.WEXITSTATUS(wait_status) if exited else None
    number = 0 if exited else os.WTERMSIG(wait_status)
    reason = _reason(number, intent, left.usage)
    ending = f"exited with code {exit_code}" if exited else f"ended by {signal_name(number)}"
    termination = Termination(
        reason=reason,
        signal=number,
        message=_message(reason, ending, spec, intent, left) + _denied(spec, left),
        leftovers_killed=left.processes,
        oom_killed=bool(left.usage.oom_kill_count),
        timed_out=reason is TerminationReason.TIMED_OUT,
        stopped_by=intent.by if intent else "",
    )
    return Outcome(_status(reason, exit_code), exit_code, termination)


def _reason(number: int, intent: Intent | None, usage: Usage) -> TerminationReason:
    if intent:
        return intent.reason
    if number == signal.SIGKILL and usage.oom_kill_count:
        return TerminationReason.OOM_KILLED
    return TerminationReason.SIGNALED if number else TerminationReason.EXITED


def _message(
    reason: TerminationReason, ending: str, spec: JobSpec, intent: Intent | None, left: Remains
) -> str:
    match reason:
        case TerminationReason.OOM_KILLED if left.usage.oom_count == 0:
            return "killed by the kernel: the host, or a cgroup above the job's, had no memory left"
        case TerminationReason.OOM_KILLED:
            return f"killed by the kernel: it reached its memory limit of {_memory_limit(spec, left)} MiB"
        case TerminationReason.TIMED_OUT:
            return f"ran into its timeout of {spec.timeout:g} s and {ending}"
        case TerminationReason.STOPPED:
            assert intent
            return f"stopped by {intent.by or 'the server, which shut down'}; {ending}"
        case _:
            return ending


def _memory_limit(spec: JobSpec, left: Remains) -> str:
    """Returns the limit that the kernel held, in MiB: something else may have changed the job's own."""
    value = left.held("max_memory")
    return f"{int(value) / (1 << 20):g}" if value.isdecimal() else str(spec.limits.max_memory)


def _denied(spec: JobSpec, left: Remains) -> str:
    """Returns that the process limit was hit: a command that cannot fork may end with any exit code."""
    if not (count := left.usage.pids_denied_count):
        return ""
    times = "once" if count == 1 else f"{count} times"
    held = left.held("max_pids")
    limit = int(held) if held.isdecimal() else spec.limits.max_pids
    which = f"max_pids: {limit}" if limit else "by a limit above the job's"
    return f"; it was refused new processes {times} ({which})"


def _status(reason: TerminationReason, exit_code: int | None) -> JobStatus:
    if reason is TerminationReason.STOPPED:
        return JobStatus.STOPPED
    if reason is TerminationReason.EXITED and exit_code == 0:
        return JobStatus.COMPLETED
    return JobStatus.FAILED
