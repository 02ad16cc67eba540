"""The control plane of the tests does what the cluster relies on."""

from live import until
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kube_api import Json, KubeApi
from tests.cluster.packaged import NAMESPACE

_PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"


def _node(name: str, cpu: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"test": name}},
        "status": {
            "capacity": {"cpu": cpu, "memory": "1Gi", "pods": "10"},
            "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": ""}],
        },
    }


def _pod(name: str, node_label: str) -> Json:
    resources = {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "containers": [{"name": "job", "image": "jobworker.dev/job", "resources": resources}],
            "nodeSelector": {"test": node_label},
            "tolerations": [{"operator": "Exists"}],
            "priorityClassName": "jobworker-normal",
        },
    }


def _bound_to(api: KubeApi, name: str) -> str:
    node: str = api.call("GET", f"{_PODS}/{name}")["spec"].get("nodeName", "")
    return node


def _reason(api: KubeApi, name: str) -> str:
    conditions = api.call("GET", f"{_PODS}/{name}")["status"].get("conditions", [])
    return " ".join(each.get("reason", "") for each in conditions)


def test_the_scheduler_binds_a_pod_to_a_node_with_room_and_leaves_the_next_one(
    control_plane: ControlPlane,
) -> None:
    api = control_plane.api()
    try:
        api.call("POST", "/api/v1/nodes", _node("room-for-one", "1"))
        api.call("POST", _PODS, _pod("first", "room-for-one"))
        until(lambda: _bound_to(api, "first") == "room-for-one")
        api.call("POST", _PODS, _pod("second", "room-for-one"))
        until(lambda: _reason(api, "second") == "Unschedulable")
    finally:
        for name in ("first", "second"):
            api.call("DELETE", f"{_PODS}/{name}?gracePeriodSeconds=0")
        api.call("DELETE", "/api/v1/nodes/room-for-one")


def test_a_program_that_is_killed_starts_again(control_plane: ControlPlane) -> None:
    scheduler = control_plane.schedulers[0]
    old = scheduler.pid
    scheduler.kill()
    until(lambda: scheduler.pid not in {None, old})
