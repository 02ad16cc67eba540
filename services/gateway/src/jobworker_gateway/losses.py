"""Tells streams that the cluster has lost their job.

Only the agent of the node may be away. The node then runs the job on, and would send its output for as long.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobworker.v1 import job_pb2
from jobworker_gateway.job_table import JobTable, LiveJob


class Losses:
    """The streams of jobs that can be lost."""

    def __init__(self, table: JobTable) -> None:
        self._watching: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)
        table.listen(self._note)

    @contextmanager
    def watching(self, job_id: str, on_loss: Callable[[], None]) -> Iterator[None]:
        """Call `on_loss` if a job becomes LOST during this context. It must not raise."""
        self._watching[job_id].add(on_loss)
        try:
            yield
        finally:
            self._watching[job_id].discard(on_loss)
            if not self._watching[job_id]:
                del self._watching[job_id]

    def _note(self, live: LiveJob) -> None:
        if live.job.status == job_pb2.JOB_STATUS_LOST:
            for on_loss in tuple(self._watching.get(live.job.id, ())):
                on_loss()
