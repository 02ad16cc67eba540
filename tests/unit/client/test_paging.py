"""Tests of paging, without a server."""

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client.paging import JobPager


def page(*ids: str, token: str = "") -> job_service_pb2.ListJobsResponse:
    """Return a page of jobs."""
    return job_service_pb2.ListJobsResponse(
        jobs=[job_pb2.Job(id=each) for each in ids], next_page_token=token
    )


def test_each_request_has_the_token_of_the_previous_page() -> None:
    pager = JobPager(job_service_pb2.ListJobsRequest(id_prefix="a"), page_size=2)
    first = pager.next_request()
    assert first == job_service_pb2.ListJobsRequest(id_prefix="a", page_size=2)
    assert [job.id for job in pager.accept(page("a1", "a2", token="next"))] == ["a1", "a2"]
    second = job_service_pb2.ListJobsRequest(id_prefix="a", page_size=2, page_token="next")
    assert pager.next_request() == second
    pager.accept(page("a3"))
    assert pager.next_request() is None


def test_empty_page_with_a_token_is_not_the_last() -> None:
    pager = JobPager(job_service_pb2.ListJobsRequest(), limit=2, page_size=2)
    pager.next_request()
    assert not pager.accept(page(token="next"))
    second = pager.next_request()
    assert second == job_service_pb2.ListJobsRequest(page_size=2, page_token="next")


def test_limit_bounds_requests_and_results() -> None:
    pager = JobPager(job_service_pb2.ListJobsRequest(), limit=3, page_size=2)
    pager.next_request()
    pager.accept(page("1", "2", token="next"))
    second = pager.next_request()
    assert second is not None
    assert second.page_size == 1
    assert [job.id for job in pager.accept(page("3", "4", token="more"))] == ["3"]
    assert pager.next_request() is None
    assert JobPager(job_service_pb2.ListJobsRequest(), limit=0).next_request() is None
