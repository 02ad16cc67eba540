"""Paging through ListJobs: builds the requests and limits the results. Makes no calls."""

from collections.abc import Sequence

from jobworker.v1 import job_pb2, job_service_pb2

__all__ = ["PAGE_SIZE", "JobPager"]

PAGE_SIZE = 500


class JobPager:
    """One listing of at most `limit` jobs (None = all), newest first."""

    def __init__(
        self,
        request: job_service_pb2.ListJobsRequest,
        *,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._request = request
        self._page_size = page_size
        self._remaining = limit
        self._at_end = False

    def next_request(self) -> job_service_pb2.ListJobsRequest | None:
        """Return the request for the next page; None after the last page."""
        if self._at_end or self._remaining == 0:
            return None
        size = self._page_size if self._remaining is None else min(self._page_size, self._remaining)
        self._request.page_size = size
        return self._request

    def accept(self, page: job_service_pb2.ListJobsResponse) -> Sequence[job_pb2.Job]:
        """Return the jobs of the page, up to the limit."""
        jobs = page.jobs[: self._remaining]
        self._remaining = None if self._remaining is None else self._remaining - len(jobs)
        self._request.page_token = page.next_page_token
        self._at_end = not page.next_page_token
        return jobs
