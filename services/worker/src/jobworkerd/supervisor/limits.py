"""The limits in a job's record, and the check of its limits policy."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup.containment import Containment
from jobworkerd.cgroup.memory import MAX_MEMORY
from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import AppliedIsolation, AppliedLimit, Job, LimitsPolicy, LimitsUpdate


def refuse_if_strict(
    policy: LimitsPolicy, limits: Iterable[AppliedLimit], parts: Iterable[AppliedIsolation] = ()
) -> None:
    """Check limits and parts of the isolation against the policy.

    Raises:
        LimitUnavailable: the policy is strict and a limit or a part of the isolation is not in force.
    """
    if policy is LimitsPolicy.STRICT:
        for limit in limits:
            if not limit.in_force:
                raise LimitUnavailable(limit.limit, limit.reason)
        for part in parts:
            if not part.in_force:
                raise LimitUnavailable(part.part, part.reason)


def changed(job: Job, update: LimitsUpdate, containment: Containment, io_paths: Sequence[Path]) -> Job:
    """Change limits of a job and return its new record.

    Some limits may have changed when it raises an error; `restored` resets them.

    Raises:
        LimitUnavailable: the policy is strict and a changed limit is not in force.
        OSError: the host is exhausted.
    """
    names = update.changes
    limits = replace(job.spec.limits, **names)
    applied = containment.change(limits, names, io_paths)
    refuse_if_strict(job.spec.limits_policy, applied)
    return _with_limits(replace(job, spec=replace(job.spec, limits=limits)), names, applied)


def restored(job: Job, names: Collection[str], containment: Containment, io_paths: Sequence[Path]) -> Job:
    """Set limits of a job again and return its new record.

    Raises:
        OSError: the host is exhausted.
    """
    return _with_limits(job, names, containment.change(job.spec.limits, names, io_paths))


def _with_limits(job: Job, names: Collection[str], applied: Iterable[AppliedLimit]) -> Job:
    """Return the job with new results for the named limits."""
    others = (limit for limit in job.applied_limits if limit.limit not in names)
    # Setting the memory limit sets memory.high again.
    lift_ns = None if MAX_MEMORY.name in names else job.memory_high_lift_time_ns
    return replace(job, applied_limits=(*applied, *others), memory_high_lift_time_ns=lift_ns)
