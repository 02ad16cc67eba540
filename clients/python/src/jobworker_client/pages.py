"""Jobs of as many pages as there are: what to ask for next. Knows neither gRPC nor how to wait."""

from collections.abc import Sequence

from jobworker.v1 import job_pb2, job_service_pb2

__all__ = ["PAGE_SIZE", "Pages"]

PAGE_SIZE = 500


class Pages:
    """One listing, up to `limit` jobs (None = all), newest first."""

    def __init__(
        self,
        request: job_service_pb2.ListJobsRequest,
        *,
        limit: int | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._request = request
        self._page_size = page_size
        self._left = limit
        self._last = False

    def ask(self) -> job_service_pb2.ListJobsRequest | None:
        """Returns the request for the next page; None = there is none."""
        if self._last or self._left == 0:
            return None
        size = self._page_size if self._left is None else min(self._page_size, self._left)
        self._request.page_size = size
        return self._request

    def take(self, page: job_service_pb2.ListJobsResponse) -> Sequence[job_pb2.Job]:
        """Returns the page's jobs, no more than are wanted."""
        jobs = page.jobs[: self._left]
        self._left = None if self._left is None else self._left - len(jobs)
        self._request.page_token = page.next_page_token
        self._last = not page.next_page_token
        return jobs
