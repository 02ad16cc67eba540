"""The Node object of the host."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.typing import EventDict

from jobworker.v1 import node_service_pb2
from jobworker_agent.cluster import ClusterUnavailable, NodeView
from jobworker_agent.host_errors import HostUnavailable
from jobworker_agent.node import HostWatch, NodeKeeper
from jobworker_agent.node_object import (
    HostState,
    NodeIdentity,
    ReadySince,
    SystemInfo,
    new_node,
    node_changes,
    node_status,
)
from tests.unit.agent.fakes import HOST, FakeCluster, FakeHost

IDENTITY = NodeIdentity("host1", "10.0.0.1:50051", {"disk": "ssd"})
SYSTEM = SystemInfo("machine", "boot", "amd64")
TIMES = ReadySince("2026-11-26T12:00:05Z", "2026-11-26T12:00:00Z")
AWAY = HostUnavailable("SUPERVISOR_UNAVAILABLE", "connection refused")
READY = NodeView("node-uid-1", ready="True", ready_since="2026-01-01T00:00:00Z")


class Clock:
    """The time since the start of the host."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(node_view=READY)


@pytest.fixture
def keeper(cluster: FakeCluster, host: FakeHost, clock: Clock) -> NodeKeeper:
    return NodeKeeper(IDENTITY, SYSTEM, cluster, HostWatch(host, clock), clock)


def _status(identity: NodeIdentity = IDENTITY, state: HostState | None = None) -> dict[str, Any]:
    patch: Any = node_status(identity, SYSTEM, state or HostState(HOST), TIMES)
    status: dict[str, Any] = patch["status"]
    return status


def _ready(cluster: FakeCluster) -> dict[str, Any]:
    patch: Any = cluster.written[-1]
    condition: dict[str, Any] = patch["status"]["conditions"][0]
    return condition


def test_a_new_node_has_the_label_the_address_and_the_taint() -> None:
    node: Any = new_node(IDENTITY, SYSTEM)
    assert node["metadata"]["labels"] == {
        "disk": "ssd",
        "jobworker.dev/node": "true",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": "host1",
        "kubernetes.io/os": "linux",
    }
    assert node["metadata"]["annotations"]["jobworker.dev/address"] == "10.0.0.1:50051"
    assert node["spec"]["taints"] == [{"key": "jobworker.dev/node", "value": "", "effect": "NoSchedule"}]


def test_a_label_that_is_no_longer_configured_is_removed() -> None:
    patch: Any = node_changes(IDENTITY, SYSTEM, {"jobworker.dev/labels": "disk,gpu"})
    assert patch["metadata"]["labels"]["gpu"] is None
    assert patch["metadata"]["labels"]["disk"] == "ssd"
    assert patch["metadata"]["annotations"]["jobworker.dev/labels"] == "disk"


def test_a_label_cannot_replace_those_of_the_agent() -> None:
    node: Any = new_node(replace(IDENTITY, labels={"jobworker.dev/node": "false"}), SYSTEM)
    assert node["metadata"]["labels"]["jobworker.dev/node"] == "true"


@pytest.mark.parametrize(
    ("maxima", "resources"),
    [
        ({}, {"cpu": "4000m", "memory": "4096Mi", "pods": "40"}),
        (
            {"max_cpu": 250, "max_memory": 100, "max_jobs": 2},
            {"cpu": "2500m", "memory": "100Mi", "pods": "2"},
        ),
        (
            {"max_cpu": 900, "max_memory": 9_999, "max_jobs": 99},
            {"cpu": "4000m", "memory": "4096Mi", "pods": "40"},
        ),
    ],
)
def test_the_capacity_is_the_lesser_of_host_and_configuration(
    maxima: dict[str, Any], resources: dict[str, str]
) -> None:
    status = _status(replace(IDENTITY, **maxima))
    assert status["capacity"] == status["allocatable"] == resources


def test_the_capacity_of_a_host_that_has_not_answered_stays_as_it_is() -> None:
    status = _status(state=HostState(None, "jobworkerd does not answer"))
    assert "capacity" not in status
    assert status["conditions"][0]["status"] == "False"


@pytest.mark.parametrize(
    ("address", "kind", "host"),
    [
        ("10.0.0.1:50051", "InternalIP", "10.0.0.1"),
        ("[2001:db8::1]:50051", "InternalIP", "2001:db8::1"),
        ("host1.example.org:50051", "InternalDNS", "host1.example.org"),
    ],
)
def test_the_address_of_the_node_has_the_right_type(address: str, kind: str, host: str) -> None:
    status = _status(replace(IDENTITY, address=address))
    assert status["addresses"][0] == {"type": kind, "address": host}


async def test_a_missing_node_is_created_and_becomes_ready(
    keeper: NodeKeeper, cluster: FakeCluster, log: list[EventDict]
) -> None:
    cluster.node_view = None
    assert keeper.uid() == ""
    await keeper.check()
    assert keeper.uid() == "node-uid-1"
    assert cluster.faults.calls == ["node", "create_node", "node", "patch_node_status"]
    assert [line["event"] for line in log] == ["node registered", "node ready"]


async def test_a_node_that_was_deleted_is_created_again(keeper: NodeKeeper, cluster: FakeCluster) -> None:
    await keeper.check()
    cluster.node_view = None
    await keeper.check()
    assert cluster.faults.calls[-4:] == ["node", "create_node", "node", "patch_node_status"]


async def test_an_unchanged_status_is_written_once_per_minute(
    keeper: NodeKeeper, cluster: FakeCluster, clock: Clock
) -> None:
    for _ in range(13):
        await keeper.check()
        clock.now += 5.0
    assert cluster.faults.calls.count("patch_node_status") == 2
    assert cluster.faults.calls.count("patch_node") == 1
    assert _ready(cluster)["lastTransitionTime"] == READY.ready_since


async def test_a_server_that_restarts_does_not_change_the_node(
    keeper: NodeKeeper, cluster: FakeCluster, host: FakeHost, clock: Clock
) -> None:
    await keeper.check()
    host.faults.errors["describe"] = [AWAY]
    clock.now += 9.0
    await keeper.check()
    assert cluster.faults.calls.count("patch_node_status") == 1


async def test_a_node_whose_server_does_not_answer_is_not_ready(
    keeper: NodeKeeper, cluster: FakeCluster, host: FakeHost, clock: Clock, log: list[EventDict]
) -> None:
    await keeper.check()
    host.faults.errors["describe"] = [AWAY]
    clock.now += 10.0
    await keeper.check()
    assert _ready(cluster)["status"] == "False"
    assert _ready(cluster)["message"] == "jobworkerd does not answer: connection refused"
    assert log[-1]["event"] == "node not ready"
    cluster.node_view = replace(READY, ready="False")
    await keeper.check()
    assert _ready(cluster)["status"] == "True"


async def test_a_host_that_cannot_enforce_limits_is_not_ready(
    keeper: NodeKeeper, cluster: FakeCluster, host: FakeHost
) -> None:
    host.answer = node_service_pb2.GetHostResponse(limits_problem="no controller memory")
    await keeper.check()
    assert _ready(cluster)["message"] == "no controller memory"


async def test_a_host_without_limits_is_ready_if_they_are_not_required(host: FakeHost) -> None:
    host.answer = node_service_pb2.GetHostResponse(limits_problem="no controller memory")
    state = await HostWatch(host, requires_limits=False).check()
    assert state
    assert state.ready == "True"


async def test_a_status_that_the_cluster_has_set_to_unknown_is_written_again(
    keeper: NodeKeeper, cluster: FakeCluster
) -> None:
    await keeper.check()
    cluster.node_view = replace(READY, ready="Unknown")
    await keeper.check()
    assert _ready(cluster)["status"] == "True"
    assert _ready(cluster)["lastTransitionTime"] != READY.ready_since


async def test_a_node_without_the_taint_is_reported(
    keeper: NodeKeeper, cluster: FakeCluster, log: list[EventDict]
) -> None:
    cluster.node_view = replace(READY, tainted=False)
    await keeper.check()
    assert log[0]["event"] == "node has no taint"


async def _checked(keeper: NodeKeeper) -> NodeKeeper:
    """Let it check the Node once."""
    task = asyncio.ensure_future(keeper.run())
    while not keeper.results:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return keeper


async def test_checks_are_counted_by_their_results(
    keeper: NodeKeeper, cluster: FakeCluster, host: FakeHost, clock: Clock
) -> None:
    assert (await _checked(keeper)).results == {"success": 1}
    cluster.faults.errors["node"] = [ClusterUnavailable("no route")]
    other = NodeKeeper(IDENTITY, SYSTEM, cluster, HostWatch(host, clock), clock)
    assert (await _checked(other)).results == {"error": 1}


async def test_the_keeper_knows_whether_the_node_is_ready_and_cordoned(
    keeper: NodeKeeper, cluster: FakeCluster, host: FakeHost, clock: Clock
) -> None:
    states = [(keeper.ready, keeper.cordoned)]
    await keeper.check()
    states.append((keeper.ready, keeper.cordoned))
    clock.now += 60.0
    host.faults.errors["describe"] = [AWAY]
    cluster.node_view = replace(READY, unschedulable=True)
    await keeper.check()
    states.append((keeper.ready, keeper.cordoned))
    assert states == [(False, False), (True, False), (False, True)]


async def test_an_agent_does_not_change_the_node_of_another_one(
    keeper: NodeKeeper, cluster: FakeCluster
) -> None:
    cluster.faults.errors["claim_node"] = [ClusterUnavailable("another agent renews the lease")] * 2
    for _ in range(2):
        with pytest.raises(ClusterUnavailable):
            await keeper.check()
    assert cluster.written == []
    assert keeper.uid() == ""
    await keeper.check()
    assert keeper.uid() == "node-uid-1"
