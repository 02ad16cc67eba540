"""The silence of nodes, by the clock of the gateway."""

from typing import Any

import pytest

from jobworker_cluster import names
from jobworker_cluster.kube import Json
from jobworker_gateway.kubernetes.allocations import Allocations
from jobworker_gateway.kubernetes.nodes import NodeTable, read_node


class Clock:
    """The clock of the gateway."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def lease(version: str) -> Json:
    return {"metadata": {"name": "node-1", "resourceVersion": version}}


def test_a_node_is_suspected_once_its_lease_is_silent_for_too_long() -> None:
    clock = Clock()
    nodes = NodeTable(Allocations(), 25.0, clock)
    nodes.put_lease(lease("1"))
    clock.now += 24
    nodes.put_lease(lease("2"))
    clock.now += 24
    assert not nodes.suspects("node-1")
    clock.now += 1
    assert nodes.suspects("node-1")


def test_the_lease_of_a_removed_node_is_forgotten() -> None:
    clock = Clock()
    nodes = NodeTable(Allocations(), 25.0, clock)
    nodes.put_lease(lease("1"))
    clock.now += 25
    nodes.remove_lease("node-1")
    nodes.put_lease(lease("1"))
    assert not nodes.suspects("node-1")
    clock.now += 25
    nodes.replace_leases([lease("1")])
    assert nodes.suspects("node-1")
    nodes.replace_leases([])
    nodes.put_lease(lease("1"))
    assert not nodes.suspects("node-1")


def test_the_silence_of_nodes_does_not_count_while_the_cluster_is_away() -> None:
    clock = Clock()
    nodes = NodeTable(Allocations(), 25.0, clock)
    nodes.put_lease(lease("1"))
    clock.now += 600
    nodes.excuse_silence()
    assert not nodes.suspects("node-1")
    clock.now += 25
    assert nodes.suspects("node-1")


@pytest.mark.parametrize(
    ("reason", "message", "shown"),
    [
        ("NodeStatusUnknown", "Kubelet stopped posting node status.", "the agent does not report; check"),
        ("NodeStatusNeverUpdated", "Kubelet never posted node status.", "the agent does not report; check"),
        ("HostNotReady", "jobworkerd does not answer", "jobworkerd does not answer"),
    ],
)
def test_a_silent_node_has_an_agent_and_no_kubelet(reason: str, message: str, shown: str) -> None:
    condition = {"type": "Ready", "status": "Unknown", "reason": reason, "message": message}
    node = read_node({"metadata": {"name": "node-1"}, "status": {"conditions": [condition]}})
    assert not node.ready
    assert node.conditions[0].message.startswith(shown)


def node(name: str, **status: Any) -> Json:
    return {"metadata": {"name": name, "annotations": {names.ADDRESS: "192.0.2.1:50051"}}, "status": status}


@pytest.mark.parametrize(
    "status",
    [
        {"allocatable": {"cpu": "9E"}},
        {"allocatable": {"pods": "3e9"}},
        {"allocatable": {"memory": "9223372036854775807Gi"}},
        {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "0000-01-01T00:00:00Z"}]},
        {"conditions": [{"type": "Ready"}]},
        {"conditions": [{"type": "Ready", "status": "True", "message": "x" * 20_000}]},
    ],
)
def test_a_node_with_values_that_no_agent_writes_is_ignored(status: dict[str, Any]) -> None:
    nodes = NodeTable(Allocations(), 25.0)
    nodes.replace([node("hostile", **status), node("honest")])
    assert list(nodes) == ["honest"]
    nodes.put(node("honest", **status))
    nodes.replace([node("hostile", **status), node("honest", **status)])
    assert nodes.address("honest") == "192.0.2.1:50051"
    nodes.replace([node("hostile", **status)])
    assert not list(nodes)
