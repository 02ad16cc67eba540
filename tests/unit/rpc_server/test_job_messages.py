"""Serialized jobs: cached messages, eviction and the encoding of responses."""

import pytest
from api_server import FINAL_JOB, JOB
from msgspec.structs import replace

from jobworker.v1 import job_service_pb2
from jobworkerd.rpc_server import job_messages
from jobworkerd.rpc_server.convert import job_to_proto
from jobworkerd.rpc_server.job_messages import JobMessages

LARGE = 1 << 20


def test_a_final_job_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    converted = []

    def convert(job: object) -> object:
        converted.append(job)
        return job_to_proto(FINAL_JOB)

    monkeypatch.setattr(job_messages, "job_to_proto", convert)
    messages = JobMessages(LARGE)
    first = messages.serialize(FINAL_JOB)
    assert first == messages.serialize(FINAL_JOB) == messages.cached(FINAL_JOB.id)
    assert converted == [FINAL_JOB]


def test_a_job_that_is_not_final_is_converted_each_time() -> None:
    messages = JobMessages(LARGE)
    assert messages.serialize(JOB) != messages.serialize(replace(JOB, log_size=5))
    assert messages.cached(JOB.id) == b""


def test_a_new_run_of_a_job_replaces_the_message_of_the_deleted_one() -> None:
    """A host deletes the job of an attempt that ended before it starts the next one, with the same id."""
    messages = JobMessages(LARGE)
    messages.serialize(FINAL_JOB)
    spec = replace(JOB.spec, request_id="second")
    running = replace(JOB, spec=spec, log_size=5)
    assert messages.serialize(running) == job_to_proto(running).SerializeToString()
    ended = replace(FINAL_JOB, spec=spec, exit_code=7)
    assert messages.serialize(ended) == job_to_proto(ended).SerializeToString() == messages.cached(ended.id)


def test_a_replaced_message_frees_its_room() -> None:
    size = len(JobMessages(LARGE).serialize(FINAL_JOB)) + 256
    messages = JobMessages(2 * size)
    other = replace(FINAL_JOB, id=FINAL_JOB.id[:-1] + "b")
    messages.serialize(other)
    for run in range(10):
        messages.serialize(replace(FINAL_JOB, spec=replace(JOB.spec, request_id=str(run))))
    assert messages.cached(other.id)


def test_the_least_recently_used_jobs_are_evicted_first() -> None:
    size = len(JobMessages(LARGE).serialize(FINAL_JOB)) + 256
    messages = JobMessages(2 * size)
    for job_id in ("a", "b"):
        messages.serialize(replace(FINAL_JOB, id=FINAL_JOB.id[:-1] + job_id))
    assert messages.cached(FINAL_JOB.id[:-1] + "a")
    messages.serialize(replace(FINAL_JOB, id=FINAL_JOB.id[:-1] + "c"))
    assert [bool(messages.cached(FINAL_JOB.id[:-1] + each)) for each in "abc"] == [True, False, True]


def test_responses_are_valid_messages() -> None:
    jobs = [job_to_proto(job) for job in (JOB, FINAL_JOB)]
    serialized = [job.SerializeToString() for job in jobs]
    one = job_service_pb2.GetJobResponse.FromString(job_messages.get_job_response(serialized[0]))
    assert one == job_service_pb2.GetJobResponse(job=jobs[0])
    page = job_service_pb2.ListJobsResponse.FromString(job_messages.list_jobs_response(serialized, "token"))
    assert page == job_service_pb2.ListJobsResponse(jobs=jobs, next_page_token="token")
    empty = job_service_pb2.ListJobsResponse.FromString(job_messages.list_jobs_response([], ""))
    assert empty == job_service_pb2.ListJobsResponse()
