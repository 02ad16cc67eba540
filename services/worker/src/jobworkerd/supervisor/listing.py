"""Pages of jobs, the newest first."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Protocol

import msgspec

from jobworkerd.model import Job
from jobworkerd.protocol.messages import JobPage, ListJobs

MAX_PAGE_BYTES = 3 * 1024 * 1024
"""A page ends early rather than outgrow the 4 MiB that a gRPC message may have."""


class GetJob(Protocol):
    """Returns a job as it is at this moment."""

    def __call__(self, job_id: str, *, live_usage: bool = False) -> Job: ...


class Listing:
    """The ids of all jobs in the order of their creation, which is the order of the ids themselves."""

    def __init__(self, get: GetJob) -> None:
        """`get` is called for ids that were added and not removed."""
        self._get = get
        self._ids: list[str] = []

    def add(self, job_id: str) -> None:
        """Adds a job."""
        insort(self._ids, job_id)

    def remove(self, job_id: str) -> None:
        """Removes a job that was added."""
        del self._ids[bisect_left(self._ids, job_id)]

    def page(self, request: ListJobs) -> JobPage:
        """Returns the page that a request asks for."""
        page: list[Job] = []
        size = 0
        for job in self._matching(request):
            size += len(msgspec.msgpack.encode(job))
            if len(page) == request.page_size or (page and size > MAX_PAGE_BYTES):
                return JobPage(tuple(page), more=True)
            page.append(self._get(job.id, live_usage=True) if request.live_usage else job)
        return JobPage(tuple(page), more=False)

    def _matching(self, request: ListJobs) -> Iterator[Job]:
        for job_id in self._candidates(request):
            job = self._get(job_id)
            if request.statuses and job.status not in request.statuses:
                continue
            if request.labels.items() <= job.spec.labels.items():
                yield job

    def _candidates(self, request: ListJobs) -> Iterator[str]:
        """Yields the ids below `before` that begin with the prefix: they stand together."""
        begin, end = 0, len(self._ids)
        if request.id_prefix:
            begin = bisect_left(self._ids, request.id_prefix)
            end = bisect_left(self._ids, request.id_prefix + "g")  # after all hexadecimal digits and "-"
        if request.before:
            end = min(end, bisect_left(self._ids, request.before))
        for index in range(end - 1, begin - 1, -1):
            yield self._ids[index]
