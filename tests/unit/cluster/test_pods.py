from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from job_pods import accepted, job, pod, pod_item, ran
from jobworker.v1 import job_pb2
from jobworker_cluster import job_secrets, names, pods, records
from jobworker_cluster.job_secrets import InvalidSecret
from jobworker_cluster.pods import InvalidPod, PodPlan


def test_a_pod_has_what_the_scheduler_and_the_agent_need() -> None:
    found = job(max_cpu=250, max_memory=512, queue="gpu", node_selector={"disk": "ssd", "zone": "b"})
    secret = accepted(found)
    secret.request.stop_grace_period.CopyFrom(Duration(seconds=5, nanos=1))
    built = pods.build(PodPlan(secret, 2, "this", "jobworker-high", {"zone": "a"}))
    spec = built["spec"]
    amounts = {"cpu": "2500m", "memory": "512Mi"}
    assert spec["containers"][0]["resources"] == {"requests": amounts, "limits": amounts}
    assert spec["nodeSelector"] == {"disk": "ssd", "zone": "a", "jobworker.dev/node": "true"}
    assert spec["terminationGracePeriodSeconds"] == 16
    assert spec["volumes"] == [{"name": "spec", "secret": {"secretName": f"job-{found.id}"}}]
    assert (spec["priorityClassName"], spec["restartPolicy"]) == ("jobworker-high", "Never")
    assert built["metadata"]["finalizers"] == ["jobworker.dev/record"]
    assert built["metadata"]["labels"]["jobworker.dev/queue"] == "gpu"


@pytest.mark.parametrize(
    ("amounts", "reserved"),
    [
        ({"cpu": "2500m", "memory": "512Mi"}, (250, 512)),
        # The apiserver stores the shortest notation.
        ({"cpu": "1", "memory": "2Gi"}, (100, 2_048)),
        ({}, (0, 0)),
    ],
)
def test_the_reservation_stays_when_the_limits_change(
    amounts: dict[str, str], reserved: tuple[int, int]
) -> None:
    item = pod_item(job(max_cpu=10, max_memory=1))
    item["spec"]["containers"][0]["resources"] = {"requests": amounts, "limits": amounts}
    found = pods.read(item)
    assert (found.reserved_cpu, found.reserved_memory) == reserved


def test_a_pod_leaves_a_node_without_an_agent_but_not_one_whose_server_restarts() -> None:
    built = pods.build(PodPlan(accepted(job()), 1, "this", "jobworker-normal"))
    seconds = {each["key"]: each.get("tolerationSeconds") for each in built["spec"]["tolerations"]}
    assert seconds == {
        "jobworker.dev/node": None,
        "node.kubernetes.io/not-ready": None,
        "node.kubernetes.io/unreachable": 5,
    }


def test_a_pod_is_read_as_it_was_built() -> None:
    found = job(labels={"team": "red"})
    read = pod(found, uid="u", node="node-1", phase="Running", attempt=3)
    assert (read.job_id, read.uid, read.node, read.phase, read.attempt) == (
        found.id, "u", "node-1", "Running", 3
    )  # fmt: skip
    assert (read.initial, read.secret, read.secret_uid) == (found, f"job-{found.id}", f"secret-{found.id}")
    assert (read.held, read.deleted, read.final, read.merged) == (True, False, False, found)


def test_a_pod_tells_why_it_waits_and_why_it_ends() -> None:
    item = pod_item(job(), deleted=True, stopped_by="CN=ada", queue_timed_out="true")
    item["metadata"]["finalizers"] = ["other"]
    item["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"},
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},
    ]
    read = pods.read(item)
    assert (read.waits_for, read.disruption) == ("0/3 nodes are available", "PreemptionByScheduler")
    assert (read.deleted, read.held, read.stopped_by, read.queue_timed_out) == (True, False, "CN=ada", True)


def test_the_record_of_the_node_is_final_or_not() -> None:
    found = job()
    assert not pod(found, record=ran(found, job_pb2.JOB_STATUS_RUNNING)).final
    assert pod(found, record=ran(found, job_pb2.JOB_STATUS_LOST)).final


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (names.JOB, "?"),
        (names.RECORD, "?"),
        (names.ATTEMPT, "one"),
        (names.ATTEMPT, "0"),
        (names.ATTEMPT, str(2**31)),
        (names.JOB, None),
    ],
)
def test_a_pod_of_another_program_is_invalid(annotation: str, value: Any) -> None:
    item = pod_item(job())
    item["metadata"]["annotations"][annotation] = value
    if value is None:
        del item["metadata"]["annotations"][annotation]
    with pytest.raises(InvalidPod, match="Pod job-"):
        pods.read(item)


@pytest.mark.parametrize(
    ("changed", "why"),
    [(job(2), "not the record of this job"), (job(owner="CN=eve,OU=Admin"), "the record of another owner")],
)
def test_a_pod_with_the_record_of_another_job_is_invalid(changed: job_pb2.Job, why: str) -> None:
    """An agent can change the annotations of the Pods on its node."""
    item = pod_item(job())
    item["metadata"]["annotations"][names.JOB] = records.encode(changed)
    with pytest.raises(InvalidPod, match=why):
        pods.read(item)


def test_a_pod_without_its_volume_is_invalid() -> None:
    item = pod_item(job())
    item["spec"]["volumes"] = [{"name": "other", "emptyDir": {}}]
    with pytest.raises(InvalidPod, match="volume spec"):
        pods.read(item)


def test_a_secret_is_read_as_it_was_built() -> None:
    found = job()
    secret = accepted(found)
    assert (secret.job, secret.request.command, secret.request_hash) == (found, "true", "hash")
    assert (secret.next_attempt, secret.request_key) == (1, "")


def test_a_secret_of_another_program_is_invalid() -> None:
    item = {"metadata": {"name": "x", "uid": "u", "resourceVersion": "1", "creationTimestamp": "now"}}
    with pytest.raises(InvalidSecret, match="Secret x"):
        job_secrets.read(item)


def test_requests_with_the_same_id_of_one_owner_compete_for_one_name() -> None:
    key = names.request_key("CN=ada", "r-1")
    assert names.secret_name("1", key) == names.secret_name("2", key) == f"request-{key}"
    assert names.key_of_secret(f"request-{key}") == key
    assert names.request_key("CN=eve", "r-1") != key
    assert (names.request_key("CN=ada", ""), names.secret_name("1", "")) == ("", "job-1")
    assert names.key_of_secret("job-1") == ""
