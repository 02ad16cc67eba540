"""Tests of the requests that Python values produce."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_output_pb2, job_pb2, job_service_pb2
from jobworker_client import JobFilter, JobStatus, LimitChanges, Limits, LimitsPolicy, OutputSource, requests

STRICT = LimitsPolicy.LIMITS_POLICY_STRICT


def test_create_request_with_all_options() -> None:
    request = requests.create_request(
        "python3",
        ("train.py", "-v"),
        limits=Limits(
            max_cpu=50, max_memory=512, max_io_bps=1_000, max_pids=9, policy=LimitsPolicy.LIMITS_POLICY_STRICT
        ),
        working_directory="/srv",
        env={"A": "b"},
        timeout=1.5,
        labels={"team": "data"},
        stop_signal="INT",
        stop_grace_period=timedelta(0),
        request_id="again",
        queue_timeout=timedelta(minutes=1),
        priority=-5,
        queue="batch",
        node_selector={"zone": "a"},
        retry_on_lost=True,
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
        queue_timeout=Duration(seconds=60),
        priority=-5,
        queue="batch",
        node_selector={"zone": "a"},
        retry_on_lost=True,
    )
    assert request == expected
    assert request.HasField("stop_grace_period")


def test_missing_options_are_not_set() -> None:
    assert requests.create_request("true", ()) == job_service_pb2.CreateJobRequest(command="true")
    assert requests.list_request() == job_service_pb2.ListJobsRequest()
    assert requests.stop_request("id", None) == job_service_pb2.StopJobRequest(id="id")
    assert requests.stream_request("id") == job_service_pb2.GetJobsStreamRequest(id="id", follow=True)


def test_list_request_with_all_filters() -> None:
    cet = timezone(timedelta(hours=1))
    request = requests.list_request(
        statuses=[JobStatus.JOB_STATUS_LOST],
        labels={"team": "data"},
        id_prefix="0199",
        owner="CN=alice,OU=Admin",
        created_after=datetime(2026, 3, 1, 18, tzinfo=cet),
        created_before=datetime(2026, 3, 1, 17, 0, 0, 5, tzinfo=UTC),
        command_contains="train",
        live_usage=True,
    )
    assert request == job_service_pb2.ListJobsRequest(
        statuses=[job_pb2.JOB_STATUS_LOST],
        labels={"team": "data"},
        id_prefix="0199",
        owner="CN=alice,OU=Admin",
        created_after=Timestamp(seconds=1_772_384_400),
        created_before=Timestamp(seconds=1_772_384_400, nanos=5_000),
        command_contains="train",
        live_usage=True,
    )
    fields = set(job_service_pb2.ListJobsRequest.DESCRIPTOR.fields_by_name)
    assert JobFilter.__annotations__.keys() == fields - {"page_size", "page_token"}


@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_filter_time_without_a_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=.*time zone"):
        requests.list_request(**{name: datetime(2026, 3, 1)})  # type: ignore[arg-type]  # noqa: DTZ001


@pytest.mark.parametrize("policy", LimitsPolicy.values())
def test_limits_policy_is_sent(policy: job_pb2.LimitsPolicy.ValueType) -> None:
    assert requests.create_request("true", (), limits=Limits(policy=policy)).limits_policy == policy


def test_all_limits_of_the_api_can_be_set_and_changed() -> None:
    limits = Limits(
        max_cpu=1, max_memory=2, max_io_bps=3, max_pids=4, max_io_iops=5, cpu_weight=6, cpu_set="7"
    )
    values = {name: value for name, value in vars(limits).items() if name != "policy"}
    changed = set(job_service_pb2.UpdateJobRequest.DESCRIPTOR.fields_by_name) - {"id"}
    assert set(values) == set(LimitChanges.__annotations__) == changed
    assert requests.create_request("true", (), limits=limits) == job_service_pb2.CreateJobRequest(
        command="true", **values
    )
    assert requests.update_request("id", **values) == job_service_pb2.UpdateJobRequest(id="id", **values)


def test_with_request_id_returns_a_copy() -> None:
    original = job_service_pb2.CreateJobRequest(command="true")
    first, second = requests.with_request_id(original), requests.with_request_id(original)
    assert first.request_id
    assert first.request_id != second.request_id
    assert not original.request_id
    assert requests.with_request_id(first).request_id == first.request_id


def test_list_request_has_the_filter() -> None:
    request = requests.list_request(statuses=[JobStatus.JOB_STATUS_LOST], labels={"a": ""}, id_prefix="01")
    assert request == job_service_pb2.ListJobsRequest(
        statuses=[job_pb2.JOB_STATUS_LOST], labels={"a": ""}, id_prefix="01"
    )


def test_stream_request_has_the_options() -> None:
    since = datetime(2026, 3, 1, 18, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    request = requests.stream_request(
        "id",
        offset=3,
        tail_lines=0,
        tail_bytes=5,
        since=since,
        source=OutputSource.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    expected = job_service_pb2.GetJobsStreamRequest(
        id="id",
        offset=3,
        tail_lines=0,
        tail_bytes=5,
        source=job_output_pb2.OUTPUT_SOURCE_STDERR,
        follow=False,
    )
    expected.since.FromDatetime(datetime(2026, 3, 1, 17, 4, 5, tzinfo=UTC))
    assert request == expected


def test_since_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no time zone.*tzinfo=datetime\.UTC"):
        requests.stream_request("id", since=datetime(2026, 3, 1))  # noqa: DTZ001 - the case under test
