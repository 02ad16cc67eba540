"""What a job's record says of its limits, and what its policy makes of that."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from jobworkerd.cgroup import memory
from jobworkerd.cgroup.job_cgroup import JobCgroup
from jobworkerd.cgroup.process_group import ProcessGroup
from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import AppliedIsolation, AppliedLimit, Job, LimitsPolicy, LimitsUpdate


def refuse_if_strict(
    policy: LimitsPolicy, limits: Iterable[AppliedLimit], parts: Iterable[AppliedIsolation] = ()
) -> None:
    """Raises LimitUnavailable if the policy is strict and a limit or a part of isolation is not in force."""
    if policy is LimitsPolicy.STRICT:
        for limit in limits:
            if not limit.in_force:
                raise LimitUnavailable(limit.limit, limit.reason)
        for part in parts:
            if not part.in_force:
                raise LimitUnavailable(part.part, part.reason)


def changed(
    job: Job, update: LimitsUpdate, containment: JobCgroup | ProcessGroup, io_paths: Sequence[Path]
) -> Job:
    """Changes limits of a job and returns it, with what the kernel made of them.

    Raises:
        LimitUnavailable: the policy is strict and one of them is not in force.
        OSError: the host is exhausted. In either case some limits may be changed: `restored` sets them back.
    """
    names = update.changes
    limits = replace(job.spec.limits, **names)
    applied = containment.change(limits, names, io_paths)
    refuse_if_strict(job.spec.limits_policy, applied)
    return _with_limits(replace(job, spec=replace(job.spec, limits=limits)), names, applied)


def restored(
    job: Job, names: Collection[str], containment: JobCgroup | ProcessGroup, io_paths: Sequence[Path]
) -> Job:
    """Sets limits of a job again and returns it, with what the kernel made of them.

    Raises:
        OSError: the host is exhausted.
    """
    return _with_limits(job, names, containment.change(job.spec.limits, names, io_paths))


def _with_limits(job: Job, names: Collection[str], applied: Iterable[AppliedLimit]) -> Job:
    """Returns the job with what the kernel made of the named limits in the place of what it said before."""
    others = (limit for limit in job.limits_applied if limit.limit not in names)
    # A memory limit that is set has its memory.high again.
    lift_ns = None if memory.LIMIT in names else job.memory_high_lift_time_ns
    return replace(job, limits_applied=(*applied, *others), memory_high_lift_time_ns=lift_ns)
