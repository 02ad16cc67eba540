"""The fields of a request that only a cluster can serve."""

import pytest

from jobworker.v1.job_service_pb2 import CreateJobRequest
from jobworkerd.config import Config
from jobworkerd.errors import InvalidRequest
from jobworkerd.model import JobSpec
from jobworkerd.rpc_server import validation

QUEUES = {"batch", "urgent"}


def _spec(**fields: object) -> JobSpec:
    request = CreateJobRequest(command="true", **fields)  # type: ignore[arg-type]  # any field
    return validation.job_spec(request, Config(), "CN=alice", QUEUES)


def _problem(**fields: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        _spec(**fields)
    (problem,) = caught.value.violations.values()
    assert caught.value.violations.keys() == fields.keys()
    return problem


def test_a_cluster_accepts_them() -> None:
    selector = {"example.com/disk": "fast", "gpu": "", "a" * 63: "b" * 63, "x.y/Z_1": "1"}
    spec = _spec(queue="batch", node_selector=selector, retry_on_lost=True)
    assert (spec.queue, spec.node_selector, spec.retry_on_lost) == ("batch", selector, True)
    assert not _spec().queue


def test_a_single_host_names_the_remedy() -> None:
    with pytest.raises(InvalidRequest, match="single host; leave it unset, or call a gateway"):
        validation.job_spec(CreateJobRequest(command="true", queue="batch"), Config(), "CN=alice")


def test_an_unknown_queue_is_refused_with_the_known_ones() -> None:
    known = "use batch, urgent, or leave it unset for the default queue"
    assert _problem(queue="q") == f"unknown queue 'q'; {known}"


@pytest.mark.parametrize(
    "selector",
    [
        {"": "x"},
        {"a b": "x"},
        {"-a": "x"},
        {"a" * 64: "x"},
        {"Example.com/disk": "x"},
        {"/disk": "x"},
        {"a/b/c": "x"},
        {"disk": "-fast"},
        {"disk": "very fast"},
        {"disk": "x" * 64},
        {f"key{number}": "" for number in range(65)},
    ],
)
def test_labels_that_no_node_can_have_are_refused(selector: dict[str, str]) -> None:
    assert _problem(node_selector=selector)
