"""Releases the states of final jobs when their records are stored."""

from collections.abc import Callable

from jobworkerd.supervisor.job_context import JobContext

_RETRY_SECONDS = 1.0
"""Delay before the next check whether the disk has accepted a final record."""


def release_when_stored(context: JobContext, job_id: str, release: Callable[[], None]) -> None:
    """Call `release` as soon as the record is stored. While the disk fails, the next supervisor needs the
    state.
    """
    if context.records.is_stored(job_id):
        release()
    else:
        context.loop.call_later(_RETRY_SECONDS, release_when_stored, context, job_id, release)
