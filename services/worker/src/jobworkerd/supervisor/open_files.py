"""The limits on open files (RLIMIT_NOFILE, getrlimit(2)) of the server and of its jobs."""

import resource

from jobworkerd.spawn.headroom import RESERVED

PER_JOB = 9
"""Descriptors of a running job: two pipes, two log files, three cgroup files and two pidfds.

An open stdin, which few jobs have, takes two more.
"""

_OTHERS = 64
"""Descriptors of the supervisor, of spare processes and of starting jobs."""


def raise_own() -> int:
    """Raise the soft limit to the hard limit, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def too_few(max_jobs: int, limit: int) -> str:
    """Return why a limit is too low for `max_jobs` and what to do; empty if it is high enough."""
    needed = max_jobs * PER_JOB + _OTHERS + RESERVED
    if limit >= needed:
        return ""
    fitting = max((limit - _OTHERS - RESERVED) // PER_JOB, 0)
    return (
        f"max_jobs: {max_jobs} jobs need {needed} open files, but the limit of {limit} is enough for about "
        f"{fitting} jobs; raise it (LimitNOFILE= of the unit, or ulimit -Hn), or lower max_jobs"
    )


def of_jobs(soft: int, hard: int) -> tuple[int, int]:
    """Return the configured limits of jobs, reduced to the limits that this process may set.

    A process without CAP_SYS_RESOURCE cannot raise its hard limit. fs.nr_open bounds all hard limits.
    """
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (own[0], max(own[1], hard)))
        resource.setrlimit(resource.RLIMIT_NOFILE, own)
    except ValueError:
        hard = min(hard, own[1])
    return min(soft, hard), hard
