"""The lease of the node and of the host."""

import pytest
from structlog.typing import EventDict

from jobworker_agent.cluster import ClusterUnavailable
from jobworker_agent.host_errors import HostUnavailable
from jobworker_agent.lease import NodeLease
from tests.unit.agent.fakes import FakeCluster, FakeHost


class Clock:
    """The time since the start of the host."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class SlowCluster(FakeCluster):
    """Kubernetes answers after some time."""

    clock: Clock
    seconds = 0.0

    async def renew_lease(self, seconds: int, node_uid: str) -> None:
        await super().renew_lease(seconds, node_uid)
        self.clock.now += self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def cluster(clock: Clock) -> SlowCluster:
    cluster = SlowCluster()
    cluster.clock = clock
    return cluster


@pytest.fixture
def lease(cluster: SlowCluster, host: FakeHost, clock: Clock) -> NodeLease:
    return NodeLease(cluster, host, lambda: "node-uid-1", lambda: None, clock)


async def test_the_lease_of_the_host_counts_from_before_the_renewal(
    lease: NodeLease, cluster: SlowCluster, host: FakeHost, clock: Clock
) -> None:
    cluster.seconds = 4.0
    await lease.renew()
    assert cluster.leases == ["node-uid-1"]
    assert host.leases == [11.0]
    assert host.lease_ends == [clock() + 11.0]


async def test_a_renewal_that_took_longer_than_the_lease_does_not_count(
    lease: NodeLease, cluster: SlowCluster, host: FakeHost
) -> None:
    cluster.seconds = 15.0
    await lease.renew()
    assert host.leases == []
    assert not lease.held


async def test_the_lease_ends_15_s_after_the_last_renewal(lease: NodeLease, clock: Clock) -> None:
    held = [lease.held]
    await lease.renew()
    for seconds in (14.9, 0.2):
        clock.now += seconds
        held.append(lease.held)
    assert held == [False, True, False]


async def test_the_age_counts_from_the_last_renewal_that_the_cluster_accepted(
    lease: NodeLease, cluster: SlowCluster, clock: Clock
) -> None:
    clock.now += 2.0
    ages = [lease.age]
    cluster.seconds = 1.0
    await lease.renew()
    ages.append(lease.age)
    clock.now += 3.0
    cluster.faults.errors["renew_lease"] = [ClusterUnavailable("refused")]
    await lease.renew()
    ages.append(lease.age)
    assert ages == [2.0, 1.0, 4.0]


async def test_a_lease_that_has_ended_is_another_one_after_its_renewal(
    lease: NodeLease, clock: Clock
) -> None:
    begins = []
    for seconds in (1.0, 14.0, 16.0):
        clock.now += seconds
        await lease.renew()
        begins.append(lease.held_since)
    assert begins == [1_001.0, 1_001.0, 1_031.0]


async def test_the_host_keeps_no_lease_that_the_cluster_did_not_renew(
    lease: NodeLease, cluster: SlowCluster, host: FakeHost, log: list[EventDict]
) -> None:
    cluster.faults.errors["renew_lease"] = [ClusterUnavailable("refused"), ClusterUnavailable("refused")]
    for _ in range(3):
        await lease.renew()
    assert len(host.leases) == 1
    assert [line["event"] for line in log] == ["lease not renewed", "lease renewed again"]
    assert lease.results == {"kubernetes_error": 2, "success": 1}


async def test_the_node_stays_alive_while_the_server_restarts(
    lease: NodeLease, cluster: SlowCluster, host: FakeHost
) -> None:
    """Otherwise the cluster would give up jobs that run, and that it could not stop."""
    host.faults.errors["renew_host_lease"] = [HostUnavailable("SUPERVISOR_UNAVAILABLE", "restarts")] * 5
    for _ in range(6):
        await lease.renew()
    assert lease.results == {"jobworkerd_error": 5, "success": 1}
    assert len(cluster.leases) == 6
    assert lease.held


async def test_the_pods_are_listed_again_when_the_cluster_is_back(
    cluster: SlowCluster, host: FakeHost, clock: Clock
) -> None:
    returns: list[float] = []
    lease = NodeLease(cluster, host, lambda: "uid", lambda: returns.append(clock.now), clock)
    await lease.renew()
    cluster.faults.errors["renew_lease"] = [ClusterUnavailable("no route")] * 2
    for _ in range(4):
        clock.now += 3.0
        await lease.renew()
    assert returns == [1_009.0]


async def test_the_pods_are_listed_again_after_the_host_was_suspended(
    cluster: SlowCluster, host: FakeHost, clock: Clock
) -> None:
    """No renewal has failed, but the cluster may have given up the node."""
    returns: list[float] = []
    lease = NodeLease(cluster, host, lambda: "uid", lambda: returns.append(clock.now), clock)
    await lease.renew()
    returns.clear()
    for seconds in (3.0, 600.0, 3.0):
        clock.now += seconds
        await lease.renew()
    assert returns == [1_603.0]


async def test_a_node_that_was_deleted_gets_no_lease(
    cluster: SlowCluster, host: FakeHost, clock: Clock
) -> None:
    await NodeLease(cluster, host, lambda: "", lambda: None, clock).renew()
    assert cluster.leases == []
    assert host.leases == []
