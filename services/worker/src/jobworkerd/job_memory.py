"""The memory of jobs, for the bounds of caches."""

from jobworkerd.model import Job

_OTHER_BYTES = 2_000
"""Memory of a job without its arguments, labels, resizes and trace."""

_RESIZE_BYTES = 100
_TRACE_BYTES = 1_500


def memory_of(job: Job) -> int:
    """Return the approximate memory of a job in bytes."""
    texts = (job.spec.command, *job.spec.args, *job.spec.labels, *job.spec.labels.values())
    trace = _TRACE_BYTES if job.trace else 0
    return _OTHER_BYTES + trace + sum(map(len, texts)) + _RESIZE_BYTES * len(job.terminal_resizes)
