"""One row per rule and per race of the end of a job."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from job_pods import job, pod, ran
from jobworker.v1 import job_pb2
from jobworker_gateway.kubernetes.decisions import WAIT, Archive, DeletePod, Retry, decide, depends_on_node

NOW = Timestamp(seconds=1_700_000_100)
RUNNING, COMPLETED = job_pb2.JOB_STATUS_RUNNING, job_pb2.JOB_STATUS_COMPLETED
FAILED, STOPPED, LOST = job_pb2.JOB_STATUS_FAILED, job_pb2.JOB_STATUS_STOPPED, job_pb2.JOB_STATUS_LOST

ONCE, AGAIN = job(), job(retry_on_lost=True)
EVICTED = ran(ONCE, STOPPED, "EVICTED")
ADA = {"stopped_by": "CN=ada"}


def ends(found: job_pb2.Job, status: job_pb2.JobStatus.ValueType, reason: str, **fields: Any) -> None:
    gone = fields.pop("node_gone", False)
    decision = decide(pod(found, **fields), NOW, node_gone=gone)
    assert isinstance(decision, Archive)
    termination = job_pb2.TerminationReason.Name(decision.job.termination.reason)
    assert (decision.job.status, termination) == (status, f"TERMINATION_REASON_{reason}")


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("found", [ONCE, AGAIN])
def test_the_result_of_a_node_is_final_whatever_happens_later(
    found: job_pb2.Job, *, deleted: bool, gone: bool
) -> None:
    record = ran(found, COMPLETED)
    ends(found, COMPLETED, "EXITED", node="node-1", record=record, deleted=deleted, node_gone=gone)


@pytest.mark.parametrize(
    ("found", "annotations", "retries"),
    [(ONCE, {}, False), (AGAIN, {}, True), (AGAIN, ADA, False)],
)
@pytest.mark.parametrize(("status", "reason"), [(STOPPED, "EVICTED"), (LOST, "LOST")])
def test_only_a_job_with_retry_on_lost_starts_again_unless_a_client_stopped_it(
    found: job_pb2.Job,
    *,
    annotations: dict[str, str],
    retries: bool,
    status: job_pb2.JobStatus.ValueType,
    reason: str,
) -> None:
    fields = {"node": "node-1", "record": ran(found, status, reason), "deleted": True, **annotations}
    if retries:
        assert decide(pod(found, **fields), NOW, node_gone=False) == Retry()
    else:
        ends(found, status, reason, **fields)


@pytest.mark.parametrize(
    ("annotations", "status", "reason"),
    [
        (ADA, STOPPED, "STOPPED"),
        ({"queue_timed_out": "true"}, FAILED, "QUEUE_TIMED_OUT"),
        ({**ADA, "queue_timed_out": "true"}, STOPPED, "STOPPED"),
    ],
)
def test_a_job_ends_in_the_queue(
    annotations: dict[str, str], status: job_pb2.JobStatus.ValueType, reason: str
) -> None:
    ends(AGAIN, status, reason, deleted=True, **annotations)


def test_a_pod_that_others_delete_in_the_queue_is_evicted() -> None:
    """Kubernetes evicts by name: the eviction of an attempt can hit the next one, which is in the queue."""
    ends(ONCE, STOPPED, "EVICTED", deleted=True)
    assert decide(pod(AGAIN, deleted=True), NOW, node_gone=False) == Retry()


@pytest.mark.parametrize("fields", [{"deleted": True}, {"phase": "Failed"}])
def test_a_job_is_lost_with_its_node(fields: dict[str, Any]) -> None:
    running = {"node": "node-1", "record": ran(ONCE, RUNNING), **fields}
    assert decide(pod(ONCE, **running), NOW, node_gone=False) == WAIT
    assert depends_on_node(pod(ONCE, **running))
    ends(ONCE, LOST, "LOST", node_gone=True, **running)
    assert decide(pod(AGAIN, **running), NOW, node_gone=True) == Retry()
    ends(AGAIN, LOST, "LOST", node_gone=True, **{**ADA, **running, "deleted": True})


def test_the_record_of_a_lost_job_has_what_the_node_reported() -> None:
    decision = decide(pod(ONCE, node="node-1", record=ran(ONCE, RUNNING), deleted=True), NOW, node_gone=True)
    assert isinstance(decision, Archive)
    lost = decision.job
    assert (lost.command, lost.start_time.seconds, lost.end_time, lost.node, lost.attempt) == (
        "true", 1_700_000_001, NOW, "node-1", 1
    )  # fmt: skip
    assert lost.termination.message == "the cluster lost node node-1; the result of the job is unknown"


def test_an_end_is_not_before_the_start_if_clocks_differ() -> None:
    fields: dict[str, Any] = {"node": "node-1", "record": ran(ONCE, RUNNING), "deleted": True}
    decision = decide(pod(ONCE, **fields), Timestamp(seconds=5), node_gone=True)
    assert isinstance(decision, Archive)
    assert decision.job.end_time == decision.job.start_time


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        ({}, WAIT),
        ({"node": "node-1"}, WAIT),
        ({"node": "node-1", "record": ran(ONCE, RUNNING)}, WAIT),
        ({"node": "node-1", "deleted": True}, WAIT),
        # A gateway noted the reason and was interrupted before it deleted the Pod.
        (ADA, DeletePod()),
        ({"node": "node-1", **ADA}, DeletePod()),
        ({"queue_timed_out": "true"}, DeletePod()),
        # The scheduler chose a node after the gateway noted the reason: the job starts.
        ({"node": "node-1", "queue_timed_out": "true"}, WAIT),
    ],
)
def test_nothing_is_final_before_its_time(fields: dict[str, Any], decision: object) -> None:
    assert decide(pod(ONCE, **fields), NOW, node_gone=False) == decision


@pytest.mark.parametrize("fields", [{}, {"node": "node-1"}, {"node": "node-1", "record": ran(ONCE, RUNNING)}])
def test_a_gone_node_alone_does_not_end_a_job(fields: dict[str, Any]) -> None:
    assert decide(pod(ONCE, **fields), NOW, node_gone=True) == WAIT


@pytest.mark.parametrize("record", [ran(AGAIN, RUNNING), ran(AGAIN, STOPPED, "EVICTED")])
def test_a_job_without_its_secret_cannot_start_again(record: job_pb2.Job) -> None:
    lost = pod(AGAIN, node="node-1", record=record, deleted=True)
    assert decide(lost, NOW, node_gone=True) == Retry()
    assert isinstance(decide(lost, NOW, node_gone=True, accepted=False), Archive)
