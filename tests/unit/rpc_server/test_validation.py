"""Validation of job ids and of requests to list, stop and stream jobs."""

import base64

import msgspec
import pytest
from api_server import JOB_ID
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from jobworkerd.errors import InvalidRequest, JobNotFound
from jobworkerd.model import JobStatus, OutputSource
from jobworkerd.protocol import messages
from jobworkerd.rpc_server import requests, validation

ListRequest = job_service_pb2.ListJobsRequest
StopRequest = job_service_pb2.StopJobRequest
StreamRequest = job_service_pb2.GetJobsStreamRequest


@pytest.mark.parametrize("job_id", ["", "x", JOB_ID + "0", JOB_ID + "\n", "{" + JOB_ID + "}", "../" + JOB_ID])
def test_an_id_with_a_wrong_format_is_not_found(job_id: str) -> None:
    with pytest.raises(JobNotFound):
        validation.job_id(job_id)


@pytest.mark.parametrize(("requested", "used"), [(0, 50), (1, 1), (1_000, 1_000), (1_001, 1_000)])
def test_page_sizes(requested: int, used: int) -> None:
    assert validation.list_jobs(ListRequest(page_size=requested)).page_size == used
    live = validation.list_jobs(ListRequest(page_size=requested, live_usage=True))
    assert (live.page_size, live.live_usage) == (min(used, 100), True)


def test_filters() -> None:
    request = ListRequest(
        statuses=[job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_LOST], labels={"a": "b"}, id_prefix="0199f"
    )
    listed = validation.list_jobs(request)
    assert listed.statuses == {JobStatus.RUNNING, JobStatus.LOST}
    assert (listed.labels, listed.id_prefix, listed.before) == ({"a": "b"}, "0199f", "")
    assert (listed.created_after_ns, listed.created_before_ns) == (None, None)


def test_filters_by_owner_time_and_command() -> None:
    listed = validation.list_jobs(
        ListRequest(
            owner="CN=alice",
            created_after=Timestamp(seconds=1, nanos=5),
            created_before=Timestamp(seconds=2),
            command_contains="train.py -v",
        )
    )
    assert (listed.owner, listed.command_contains) == ("CN=alice", "train.py -v")
    assert (listed.created_after_ns, listed.created_before_ns) == (1_000_000_005, 2_000_000_000)


def test_times_that_no_job_has_fit_into_the_message() -> None:
    request = ListRequest(
        created_after=Timestamp(seconds=-5), created_before=Timestamp(seconds=253_402_300_799)
    )
    listed = validation.list_jobs(request)
    assert (listed.created_after_ns, listed.created_before_ns) == (0, 2**63 - 1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(listed), type=messages.ListJobs) == listed


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page_size", -1),
        ("page_token", "nonsense"),
        ("page_token", "ä"),
        ("page_token", base64.urlsafe_b64encode(b"fifteen bytes..").decode()),
        ("page_token", JOB_ID),
        ("statuses", [job_pb2.JOB_STATUS_UNSPECIFIED]),
        ("statuses", [77]),
        ("id_prefix", "%"),
        ("id_prefix", "a" * 37),
        ("owner", "ä" * 2_049),
        ("created_after", Timestamp(nanos=-1)),
        ("created_before", Timestamp(seconds=253_402_300_800)),
        ("command_contains", "x" * 1_025),
    ],
)
def test_invalid_list_requests(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.list_jobs(ListRequest(**{field: value}))  # type: ignore[arg-type]  # any field's
    assert list(caught.value.violations) == [field]


@pytest.mark.parametrize(
    ("grace_period", "seconds"), [(None, None), (Duration(), 0.0), (Duration(nanos=500_000_000), 0.5)]
)
def test_grace_period_of_a_stop(grace_period: Duration | None, seconds: float | None) -> None:
    stop = validation.stop_job(StopRequest(id=JOB_ID, grace_period=grace_period), "CN=alice")
    assert (stop.job_id, stop.subject, stop.grace_period) == (JOB_ID, "CN=alice", seconds)


@pytest.mark.parametrize("grace_period", [Duration(seconds=-1), Duration(seconds=86_401)])
def test_invalid_grace_periods_of_a_stop(grace_period: Duration) -> None:
    with pytest.raises(InvalidRequest, match="grace_period"):
        validation.stop_job(StopRequest(id=JOB_ID, grace_period=grace_period), "CN=alice")


def test_a_stream_request_with_defaults() -> None:
    wanted = validation.stream(StreamRequest(id=JOB_ID))
    assert wanted == requests.StreamRequest(job_id=JOB_ID)
    assert wanted.follow
    assert not wanted.needs_seek


def test_a_stream_request_with_all_fields() -> None:
    request = StreamRequest(
        id=JOB_ID,
        offset=3,
        tail_lines=0,
        tail_bytes=7,
        since=Timestamp(seconds=1, nanos=5),
        source=job_output_pb2.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    assert validation.stream(request) == requests.StreamRequest(
        job_id=JOB_ID,
        offset=3,
        tail_lines=0,
        tail_bytes=7,
        since_ns=1_000_000_005,
        source=OutputSource.STDERR,
        follow=False,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offset", -1),
        ("tail_lines", -1),
        ("tail_bytes", -1),
        ("source", 77),
        ("since", Timestamp(nanos=-1)),
        ("since", Timestamp(seconds=253_402_300_800)),
    ],
)
def test_invalid_stream_requests(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.stream(StreamRequest(id=JOB_ID, **{field: value}))  # type: ignore[arg-type]  # any field's
    assert list(caught.value.violations) == [field]


def test_a_stream_request_with_an_invalid_id() -> None:
    with pytest.raises(JobNotFound):
        validation.stream(StreamRequest(id="x"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (StreamRequest(offset=-1), "offset: -1 is negative; use 0 or more bytes"),
        (StreamRequest(source=77), "source: unknown output source 77; use STDOUT or STDERR"),  # type: ignore[arg-type]  # any number
        (
            StreamRequest(since=Timestamp(seconds=253_402_300_800)),
            "since: 253402300800 s is out of range; use 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z",
        ),
    ],
)
def test_messages_of_stream_requests(request_: StreamRequest, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.stream(request_)
    assert str(caught.value) == message


def test_the_message_of_an_unknown_status() -> None:
    with pytest.raises(InvalidRequest) as caught:
        validation.list_jobs(ListRequest(statuses=[77]))  # type: ignore[list-item]  # any number
    accepted = "QUEUED, INITIALIZING, RUNNING, COMPLETED, FAILED, STOPPED or LOST"
    assert str(caught.value) == f"statuses: unknown job status 77; use {accepted}"
