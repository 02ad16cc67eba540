"""The manifests of packaging/kubernetes/cluster give each program the rights that docs/cluster.md names."""

from collections.abc import Iterator

import pytest

from live import until
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kube_api import ApiError, Json, KubeApi
from tests.cluster.packaged import NAMESPACE, objects

_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_STRICT = "meets-restricted"
_HOSTS = ("host-a", "host-b")

GATEWAY = f"system:serviceaccount:{NAMESPACE}:jobworker-gateway"
AGENT = f"system:serviceaccount:{NAMESPACE}:jobworker-agent"


def _may(api: KubeApi, user: str, verb: str, resource: str, namespace: str = "") -> bool:
    attributes = {"verb": verb, "resource": resource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    allowed: bool = api.call("POST", _REVIEWS, review)["status"]["allowed"]
    return allowed


def _status(api: KubeApi, method: str, path: str, body: Json | None = None) -> int:
    """Make a call and return the status of the answer."""
    try:
        api.call(
            method, path, body, "application/merge-patch+json" if method == "PATCH" else "application/json"
        )
    except ApiError as error:
        return error.status
    return 200


def _node(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def _secret(host: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"of-{host}"}}


def _pod(host: str) -> Json:
    """Return a Pod on a host that refers to a Secret, as the Pod of a job does."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"of-{host}"},
        "spec": {
            "nodeName": host,
            "automountServiceAccountToken": False,
            "containers": [{"name": "job", "image": "jobworker.dev/job"}],
            "volumes": [{"name": "spec", "secret": {"secretName": f"of-{host}"}}],
        },
    }


def _as_user(control_plane: ControlPlane, user: str, group: str) -> KubeApi:
    certificates = control_plane.certificates
    return KubeApi(
        control_plane.server, certificates.ca, certificates.client(user.replace(":", "-"), user, group)
    )


@pytest.fixture
def hosts(control_plane: ControlPlane) -> Iterator[dict[str, KubeApi]]:
    """Two nodes, each with a Pod and its Secret; each value calls the apiserver as the agent of its node."""
    admin = control_plane.api()
    agents = {host: _as_user(control_plane, f"system:node:{host}", "system:nodes") for host in _HOSTS}
    try:
        for host, agent in agents.items():
            agent.call("POST", "/api/v1/nodes", _node(host))
            admin.call("POST", _SECRETS, _secret(host))
            admin.call("POST", _PODS, _pod(host))
        yield agents
    finally:
        for host in _HOSTS:
            for path in (
                f"{_PODS}/of-{host}?gracePeriodSeconds=0",
                f"{_SECRETS}/of-{host}",
                f"/api/v1/nodes/{host}",
            ):
                _status(admin, "DELETE", path)


def test_the_certificate_of_a_node_reads_the_requests_of_its_own_jobs_only(hosts: dict[str, KubeApi]) -> None:
    agent = hosts["host-a"]
    # The authorizer learns of a Pod with a delay.
    until(lambda: _status(agent, "GET", f"{_SECRETS}/of-host-a") == 200)
    assert _status(agent, "GET", f"{_SECRETS}/of-host-b") == 403
    assert _status(agent, "GET", _SECRETS) == 403


def test_the_certificate_of_a_node_changes_its_own_state_only(hosts: dict[str, KubeApi]) -> None:
    agent = hosts["host-a"]
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    running = {"metadata": {"annotations": {"jobworker.dev/record": "x"}}, "status": {"phase": "Running"}}
    assert _status(agent, "PATCH", "/api/v1/nodes/host-a/status", ready) == 200
    assert _status(agent, "PATCH", "/api/v1/nodes/host-b/status", ready) == 403
    until(lambda: _status(agent, "PATCH", f"{_PODS}/of-host-a/status", running) == 200)
    assert _status(agent, "PATCH", f"{_PODS}/of-host-b/status", running) == 403
    assert _status(agent, "DELETE", f"{_SECRETS}/of-host-a") == 403


def test_the_service_account_of_agents_reads_the_requests_of_all_jobs(
    control_plane: ControlPlane, hosts: dict[str, KubeApi]
) -> None:
    agent = _as_user(control_plane, AGENT, "system:serviceaccounts")
    assert [_status(agent, "GET", f"{_SECRETS}/of-{host}") for host in hosts] == [200, 200]
    assert _status(agent, "GET", _SECRETS) == 403
    assert _status(agent, "DELETE", f"{_PODS}/of-host-a") == 403


@pytest.mark.parametrize("user", [GATEWAY, AGENT])
@pytest.mark.parametrize("resource", ["pods", "secrets"])
def test_no_program_sees_jobs_or_secrets_of_other_namespaces(
    control_plane: ControlPlane, user: str, resource: str
) -> None:
    api = control_plane.api()
    assert _may(api, user, "get", resource, NAMESPACE)
    for namespace in ("", "default", "kube-system"):
        assert not _may(api, user, "get", resource, namespace)


def test_gateways_do_not_change_nodes(control_plane: ControlPlane) -> None:
    api = control_plane.api()
    assert _may(api, GATEWAY, "list", "nodes")
    assert not any(_may(api, GATEWAY, verb, "nodes") for verb in ("create", "patch", "update", "delete"))


def test_all_pods_meet_the_strictest_standard(control_plane: ControlPlane) -> None:
    """In a namespace that refuses all Pods with privileges."""
    api = control_plane.api()
    pods = [_pod_of(each) for each in objects() if each["kind"] == "Deployment"]
    assert {pod["metadata"]["name"] for pod in pods} == {"jobworker-gateway", "jobworker-dashboard"}
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _STRICT, "labels": labels}})
    path = f"/api/v1/namespaces/{_STRICT}"
    try:
        until(lambda: _status(api, "GET", f"{path}/serviceaccounts/default") == 200)
        for pod in pods:
            api.call("POST", f"{path}/pods?dryRun=All", pod)
            pod["spec"]["securityContext"]["runAsNonRoot"] = False
            assert _status(api, "POST", f"{path}/pods?dryRun=All", pod) == 403
    finally:
        api.call("DELETE", path)


def _pod_of(deployment: Json) -> Json:
    """Return a Pod of a Deployment. Its service account exists in each namespace."""
    spec = {**deployment["spec"]["template"]["spec"], "serviceAccountName": "default"}
    metadata = {"name": deployment["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
