"""What Python says, as the API's messages."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_client import JobStatus, Limits, OutputSource, requests

STDERR = OutputSource.OUTPUT_SOURCE_STDERR


def test_a_job_with_everything() -> None:
    request = requests.create_request(
        "python3",
        ("train.py", "-v"),
        limits=Limits(cpu=50, memory=512, io_bps=1_000, pids=9, strict=True),
        working_directory="/srv",
        env={"A": "b"},
        timeout=1.5,
        labels={"team": "data"},
        stop_signal="INT",
        stop_grace_period=timedelta(0),
        request_id="again",
    )
    expected = job_service_pb2.CreateJobRequest(
        command="python3",
        args=["train.py", "-v"],
        max_cpu=50,
        max_memory=512,
        max_io_bps=1_000,
        max_pids=9,
        limits_policy=job_pb2.LIMITS_POLICY_STRICT,
        working_directory="/srv",
        env={"A": "b"},
        timeout=Duration(seconds=1, nanos=500_000_000),
        labels={"team": "data"},
        stop_signal="INT",
        stop_grace_period=Duration(),
        request_id="again",
    )
    assert request == expected
    assert request.HasField("stop_grace_period")


def test_what_is_not_said_is_not_set() -> None:
    assert requests.create_request("true", ()) == job_service_pb2.CreateJobRequest(command="true")
    assert requests.list_request() == job_service_pb2.ListJobsRequest()
    assert requests.stop_request("id", None) == job_service_pb2.StopJobRequest(id="id")
    assert requests.stream_request("id") == job_service_pb2.GetJobsStreamRequest(id="id", follow=True)


@pytest.mark.parametrize(
    ("strict", "policy"),
    [
        (None, job_pb2.LIMITS_POLICY_UNSPECIFIED),
        (True, job_pb2.LIMITS_POLICY_STRICT),
        (False, job_pb2.LIMITS_POLICY_BEST_EFFORT),
    ],
)
def test_strictness_is_a_policy(*, strict: bool | None, policy: job_pb2.LimitsPolicy.ValueType) -> None:
    assert requests.create_request("true", (), limits=Limits(strict=strict)).limits_policy == policy


def test_a_request_is_made_safe_to_repeat_and_is_not_changed_itself() -> None:
    given = job_service_pb2.CreateJobRequest(command="true")
    first, second = requests.repeatable(given), requests.repeatable(given)
    assert first.request_id
    assert first.request_id != second.request_id
    assert not given.request_id
    assert requests.repeatable(first).request_id == first.request_id


def test_jobs_are_chosen() -> None:
    request = requests.list_request(statuses=[JobStatus.JOB_STATUS_LOST], labels={"a": ""}, id_prefix="01")
    assert request == job_service_pb2.ListJobsRequest(
        statuses=[job_pb2.JOB_STATUS_LOST], labels={"a": ""}, id_prefix="01"
    )


def test_a_part_of_the_output_is_chosen() -> None:
    moment = datetime(2026, 3, 1, 18, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    request = requests.stream_request(
        "id",
        offset=3,
        tail_lines=0,
        tail_bytes=5,
        since=moment,
        source=OutputSource.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    expected = job_service_pb2.GetJobsStreamRequest(
        id="id",
        offset=3,
        tail_lines=0,
        tail_bytes=5,
        source=job_service_pb2.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    expected.since.FromDatetime(datetime(2026, 3, 1, 17, 4, 5, tzinfo=UTC))
    assert request == expected


def test_a_time_without_a_zone_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"has no time zone.*tzinfo=datetime\.UTC"):
        requests.stream_request("id", since=datetime(2026, 3, 1))  # noqa: DTZ001 - the point
