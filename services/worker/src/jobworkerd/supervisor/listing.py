"""Pages of jobs, newest first."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Protocol

import msgspec

from jobworkerd.job_id import PREFIX_END
from jobworkerd.model import Job
from jobworkerd.protocol.messages import JobPage, ListJobs


class GetJob(Protocol):
    """Returns a job in its current state."""

    def __call__(self, job_id: str, *, live_usage: bool = False) -> Job: ...


class Listing:
    """The sorted ids of all jobs, which is the order of their creation."""

    def __init__(self, get: GetJob) -> None:
        """`get` returns the job of an id that was added and not removed."""
        self._get = get
        self._ids: list[str] = []

    def add(self, job_id: str) -> None:
        """Add the id of a new job."""
        insort(self._ids, job_id)

    def remove(self, job_id: str) -> None:
        """Remove the id of a job."""
        del self._ids[bisect_left(self._ids, job_id)]

    def page(self, request: ListJobs) -> JobPage:
        """Return the page for a request. It has at least one job, even if the job exceeds `max_bytes`."""
        page: list[Job] = []
        size = 0
        for job in self._matching(request):
            size += len(msgspec.msgpack.encode(job))
            if len(page) == request.page_size or (page and size > request.max_bytes):
                return JobPage(tuple(page), next_before=page[-1].id)
            page.append(self._get(job.id, live_usage=True) if request.live_usage else job)
        return JobPage(tuple(page))

    def _matching(self, request: ListJobs) -> Iterator[Job]:
        for job_id in self._candidates(request):
            job = self._get(job_id)
            if request.statuses and job.status not in request.statuses:
                continue
            if request.labels.items() <= job.spec.labels.items():
                yield job

    def _candidates(self, request: ListJobs) -> Iterator[str]:
        """Yield the ids below `before` that have the prefix, newest first. They are adjacent."""
        begin, end = 0, len(self._ids)
        if request.id_prefix:
            begin = bisect_left(self._ids, request.id_prefix)
            end = bisect_left(self._ids, request.id_prefix + PREFIX_END)
        if request.before:
            end = min(end, bisect_left(self._ids, request.before))
        for index in range(end - 1, begin - 1, -1):
            yield self._ids[index]
