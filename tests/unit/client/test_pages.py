"""Paging, without a server."""

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client.pages import Pages


def page(*ids: str, token: str = "") -> job_service_pb2.ListJobsResponse:
    """A page of jobs."""
    return job_service_pb2.ListJobsResponse(
        jobs=[job_pb2.Job(id=each) for each in ids], next_page_token=token
    )


def test_every_page_is_asked_for_with_the_token_of_the_one_before() -> None:
    pages = Pages(job_service_pb2.ListJobsRequest(id_prefix="a"), page_size=2)
    first = pages.ask()
    assert first == job_service_pb2.ListJobsRequest(id_prefix="a", page_size=2)
    assert [job.id for job in pages.take(page("a1", "a2", token="next"))] == ["a1", "a2"]
    assert pages.ask() == job_service_pb2.ListJobsRequest(id_prefix="a", page_size=2, page_token="next")
    pages.take(page("a3"))
    assert pages.ask() is None


def test_a_limit_is_not_exceeded_by_what_is_asked_for_or_taken() -> None:
    pages = Pages(job_service_pb2.ListJobsRequest(), limit=3, page_size=2)
    pages.ask()
    pages.take(page("1", "2", token="next"))
    second = pages.ask()
    assert second is not None
    assert second.page_size == 1
    assert [job.id for job in pages.take(page("3", "4", token="more"))] == ["3"]
    assert pages.ask() is None
    assert Pages(job_service_pb2.ListJobsRequest(), limit=0).ask() is None
