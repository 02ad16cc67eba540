"""Refusals of the apiserver, as clients and administrators see them."""

import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from engine_world import CLASSES, running, until
from fake_apiserver import FakeApiserver, apiserver
from fake_archive import FakeArchive
from job_pods import job
from jobworker.v1 import job_service_pb2
from jobworker_cluster import names
from jobworker_cluster.access import Access
from jobworker_cluster.kube import Kube
from jobworker_cluster.kube_errors import from_answer
from jobworker_gateway.engine import AcceptedJob
from jobworker_gateway.kubernetes import problems
from jobworker_gateway.kubernetes.cluster_errors import from_kube
from jobworker_gateway.kubernetes.engine import KubernetesEngine
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworkerd import errors

NAMESPACE = "/api/v1/namespaces/jobworker"
NO_RIGHT = 'pods is forbidden: User "a" cannot create resource "pods" in API group "" in the namespace "b"'
QUOTA = 'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=9, limited: pods=9'
POLICY = 'pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi'
SELECTOR = 'Pod "a" is invalid: spec.nodeSelector: Invalid value: "?"'
REQUEST = job_service_pb2.CreateJobRequest(command="true", env={"A": "b" * 100})
APPLY = "an administrator has to run: kubectl apply -k packaging/kubernetes/cluster"
POLICIES = "change the request, or ask an administrator for the policies of the cluster"
VERSION = "ask an administrator whether the gateway supports this version of Kubernetes"


@pytest.mark.parametrize(
    ("status", "message", "kind", "end"),
    [
        (400, "the object is not valid", errors.ClusterRefused, VERSION),
        (401, "Unauthorized", errors.ClusterRefused, "has to renew the credentials of the gateway"),
        (403, NO_RIGHT, errors.ClusterRefused, APPLY),
        (403, POLICY, errors.ClusterRefused, POLICIES),
        (403, QUOTA, errors.TooManyJobs, "retry when other jobs have ended"),
        (404, 'namespaces "b" not found', errors.ClusterRefused, APPLY),
        (409, "the object has changed", errors.ClusterUnavailable, "retry"),
        (410, "too old resource version", errors.ClusterUnavailable, "retry"),
        (413, "limit is 3145728", errors.MessageTooLarge, "large values in a file that the job reads"),
        (422, SELECTOR, errors.InvalidRequest, SELECTOR),
        (422, "a policy denied request", errors.ClusterRefused, POLICIES),
        (429, "too many requests", errors.ClusterUnavailable, "retry"),
        (500, "internal error", errors.ClusterUnavailable, "retry"),
        (504, "timeout", errors.ClusterUnavailable, "retry"),
    ],
)
def test_each_answer_has_an_error_for_clients(
    status: int, message: str, kind: type[errors.JobWorkerError], end: str
) -> None:
    error = from_kube(from_answer(status, message), REQUEST)
    assert type(error) is kind
    assert str(error).endswith(end)
    if kind is not errors.MessageTooLarge:
        assert message in str(error)


@pytest.mark.parametrize(("status", "message"), [(413, "too large"), (422, SELECTOR)])
def test_only_a_client_that_creates_a_job_can_change_the_request(status: int, message: str) -> None:
    assert type(from_kube(from_answer(status, message))) is errors.ClusterRefused


def test_a_request_that_is_too_large_has_its_size() -> None:
    assert str(from_kube(from_answer(413, "too large"), REQUEST)) == (
        f"the request has {REQUEST.ByteSize()} bytes of arguments, environment, labels and other fields; "
        "use less, and pass large values in a file that the job reads"
    )


@pytest.fixture
async def server() -> AsyncIterator[FakeApiserver]:
    """An apiserver with a class for the priority of jobs."""
    async with apiserver() as (fake, _):
        metadata = {"name": "normal", "labels": {names.PRIORITY: "true"}}
        await fake.put(f"{CLASSES}/normal", {"metadata": metadata, "value": 0})
        yield fake


@contextlib.asynccontextmanager
async def _running(server: FakeApiserver) -> AsyncIterator[KubernetesEngine]:
    """Run the engine of a gateway."""
    kube = Kube(Access(server.url, ssl.create_default_context()))
    engine = KubernetesEngine(KubernetesSettings(), FakeArchive(), kube)
    async with running(engine):
        yield engine


@pytest.fixture
async def engine(server: FakeApiserver) -> AsyncIterator[KubernetesEngine]:
    """The engine of a gateway whose watches have begun."""
    async with _running(server) as engine:
        await until(lambda: not engine.problem)
        yield engine


@pytest.mark.parametrize("path", ["pods", "secrets"])
@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ((403, NO_RIGHT), errors.ClusterRefused),
        ((403, QUOTA), errors.TooManyJobs),
        ((413, "too large"), errors.MessageTooLarge),
    ],
)
async def test_a_job_that_is_refused_leaves_nothing_behind(
    server: FakeApiserver,
    engine: KubernetesEngine,
    path: str,
    refusal: tuple[int, str],
    kind: type[errors.JobWorkerError],
) -> None:
    server.refusals[f"POST {NAMESPACE}/{path}"] = [refusal]
    with pytest.raises(kind):
        await engine.submit(AcceptedJob(job(), REQUEST, "hash"))
    assert not [each for each in server.objects if each.startswith(NAMESPACE)]


async def test_a_right_that_is_missing_is_in_the_log(server: FakeApiserver, engine: KubernetesEngine) -> None:
    server.refusals[f"POST {NAMESPACE}/pods"] = [(403, NO_RIGHT)]
    with capture_logs() as lines, pytest.raises(errors.ClusterRefused):
        await engine.submit(AcceptedJob(job(), REQUEST, "hash"))
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("cluster refuses the gateway", f"{NO_RIGHT}; {APPLY}")
    ]


async def test_a_cluster_without_priorities_is_in_the_log(
    server: FakeApiserver, engine: KubernetesEngine
) -> None:
    await server.remove(f"{CLASSES}/normal")
    with capture_logs() as lines, pytest.raises(errors.ClusterRefused, match="has to create one"):
        await engine.submit(AcceptedJob(job(), REQUEST, "hash"))
    assert [line["event"] for line in lines] == ["cluster refuses the gateway"]


async def test_a_client_cannot_mend_a_control_plane_that_does_not_answer(
    server: FakeApiserver, engine: KubernetesEngine
) -> None:
    server.always = 503
    with capture_logs() as lines, pytest.raises(errors.ClusterUnavailable):
        await engine.find(job().id)
    assert not lines


async def test_a_watch_that_is_refused_is_in_the_log_and_its_return_as_well(server: FakeApiserver) -> None:
    refusal = NO_RIGHT.replace("create", "list")
    server.refusals[f"GET {NAMESPACE}/pods"] = [(403, refusal)]
    with capture_logs() as lines:
        async with _running(server):
            await until(lambda: lines)
            del server.refusals[f"GET {NAMESPACE}/pods"]
            await until(lambda: len(lines) > 1)
    first, second = lines
    assert (first["event"], first["reason"]) == ("cluster refuses the gateway", refusal)
    assert second["event"] == "cluster reachable again"


async def test_an_apiserver_that_starts_can_lack_the_rights_for_some_time(
    server: FakeApiserver, engine: KubernetesEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refusals[f"GET {NAMESPACE}/pods"] = [(403, NO_RIGHT)]
    server.refusals[f"POST {NAMESPACE}/secrets"] = [(403, NO_RIGHT)]
    server.cut()
    await until(lambda: engine.problem)
    with pytest.raises(errors.ClusterUnavailable, match="forbidden"):
        await engine.submit(AcceptedJob(job(), REQUEST, "hash"))
    await until(lambda: engine._problems._since)
    monkeypatch.setattr(problems, "_START_SECONDS", 0.0)
    with pytest.raises(errors.ClusterRefused, match="forbidden"):
        await engine.submit(AcceptedJob(job(), REQUEST, "hash"))
