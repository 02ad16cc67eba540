"""What a job's record says of its limits, and what its policy makes of that."""

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from jobworkerd.errors import LimitUnavailable
from jobworkerd.model import AppliedIsolation, AppliedLimit, Job, LimitsPolicy


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


def with_limits(job: Job, names: Collection[str], applied: Iterable[AppliedLimit]) -> Job:
    """Returns the job with what the kernel made of the named limits in the place of what it said before."""
    others = (limit for limit in job.limits_applied if limit.limit not in names)
    return replace(job, limits_applied=(*applied, *others))
