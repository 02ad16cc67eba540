import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from job_pods import job, ran
from jobworker.v1 import job_pb2
from jobworker_cluster import records
from jobworker_cluster.records import InvalidRecord


def test_a_record_and_the_initial_one_make_the_whole_job() -> None:
    initial = job(args=["a", "b"], labels={"team": "red"}, node_selector={"disk": "ssd"}, priority=7)
    record = ran(initial, job_pb2.JOB_STATUS_COMPLETED)
    record.log_size = 12
    stripped = records.strip(record)
    assert (stripped.command, list(stripped.args), dict(stripped.labels)) == ("", [], {})
    assert records.merge(initial, records.decode(records.encode(stripped))) == record


def test_the_initial_record_decides_what_a_node_cannot_change() -> None:
    initial = job(queue="gpu")
    record = ran(initial, job_pb2.JOB_STATUS_RUNNING)
    record.owner, record.priority, record.queue = "CN=eve", 9, ""
    merged = records.merge(initial, record)
    assert (merged.owner, merged.priority, merged.queue) == (initial.owner, 0, "gpu")


@pytest.mark.parametrize(
    ("status", "max_cpu", "max_pids"),
    [(job_pb2.JOB_STATUS_RUNNING, 50, 0), (job_pb2.JOB_STATUS_COMPLETED, 100, 8)],
)
def test_an_update_of_limits_shows_until_the_node_has_the_last_word(
    status: job_pb2.JobStatus.ValueType, max_cpu: int, max_pids: int
) -> None:
    initial = job(max_pids=8)
    updated = records.with_limits(initial, job_pb2.Job(max_cpu=50, command="ignored"))
    merged = records.merge(updated, ran(initial, status))
    assert (merged.max_cpu, merged.max_pids, merged.command) == (max_cpu, max_pids, "true")


@pytest.mark.parametrize("text", ["?", "YQ", "/w=="])
def test_other_text_is_not_a_record(text: str) -> None:
    with pytest.raises(InvalidRecord):
        records.decode(text)


@pytest.mark.parametrize("name", ["create_time", "start_time", "end_time", "memory_high_lift_time"])
@pytest.mark.parametrize(("seconds", "nanos"), [(-1, 0), (2**62, 0), (9_223_372_037, 0), (0, -1), (0, 10**9)])
def test_a_time_that_no_program_can_show_is_refused(name: str, seconds: int, nanos: int) -> None:
    found = job()
    getattr(found, name).CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
    with pytest.raises(InvalidRecord, match=f"{name} is out of range"):
        records.decode(records.encode(found))


@pytest.mark.parametrize("name", ["timeout", "stop_grace_period", "queue_timeout"])
@pytest.mark.parametrize("seconds", [-1, 2**62])
def test_a_duration_that_no_program_can_show_is_refused(name: str, seconds: int) -> None:
    found = job()
    getattr(found, name).seconds = seconds
    with pytest.raises(InvalidRecord, match=f"{name} is out of range"):
        records.decode(records.encode(found))
