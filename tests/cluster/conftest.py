"""A control plane, alone or with three hosts of jobworkerd and two gateways."""

from collections.abc import Iterator

import pytest

from tests.cluster import packaged
from tests.cluster.control_plane import ControlPlane, running


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One etcd, apiserver, scheduler and controller manager on this host, with our manifests."""
    with running(tmp_path_factory.mktemp("control-plane") / "files") as started:
        packaged.apply(started.api())
        yield started
