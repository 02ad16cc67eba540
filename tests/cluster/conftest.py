"""A control plane, alone or with three hosts of jobworkerd and two gateways."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from live_client import Client, client
from tests.cluster import packaged, whole
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.whole import Cluster


@pytest.fixture(scope="session", autouse=True)
def default_signals() -> None:
    """End at SIGTERM as at SIGINT, so that fixtures remove their processes and network namespaces."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Programs would inherit a signal that nohup(1) ignores.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One etcd, apiserver, scheduler and controller manager on this host, with our manifests."""
    with running(tmp_path_factory.mktemp("control-plane") / "files") as started:
        packaged.apply(started.api())
        yield started


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A whole cluster: three hosts, two gateways, and a control plane without a single point of failure."""
    with whole.running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Client]:
    """A client of the first gateway with the Admin role."""
    async with client(cluster.gateways[0].server, "admin") as connected:
        yield connected


@pytest.fixture
async def other_admin(cluster: Cluster) -> AsyncIterator[Client]:
    """The same client at the second gateway."""
    async with client(cluster.gateways[1].server, "admin") as connected:
        yield connected
