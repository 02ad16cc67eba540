"""Lists that an apiserver answers from its memory."""

from collections.abc import AsyncIterator

import pytest

from jobworker_cluster.kube import Delete, Kube
from jobworker_cluster.kube_errors import TooNew
from jobworker_cluster.resources import Selection, pods
from tests.cluster.control_plane import ControlPlane
from tests.cluster.packaged import NAMESPACE

ALL = Selection(pods(NAMESPACE))


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    connected = await Kube.connect(control_plane.kubeconfig("admin", "system:masters"))
    try:
        yield connected
    finally:
        await connected.close()


async def test_a_list_can_ask_for_a_known_version(kube: Kube) -> None:
    spec = {"containers": [{"name": "job", "image": "jobworker.dev/job"}], "nodeSelector": {"test": "none"}}
    created = await kube.create(ALL.resource, {"metadata": {"name": "listed"}, "spec": spec})
    try:
        version = created["metadata"]["resourceVersion"]
        found = await kube.list(ALL, not_older_than=version)
        assert int(found.resource_version) >= int(version)
        assert "listed" in {item["metadata"]["name"] for item in found.items}
    finally:
        await kube.delete(ALL.resource, "listed", Delete(grace_seconds=0))


async def test_a_version_that_does_not_exist_yet_is_told_apart_from_a_busy_apiserver(kube: Kube) -> None:
    version = int((await kube.list(ALL)).resource_version)
    with pytest.raises(TooNew, match="Too large resource version"):
        await kube.list(ALL, not_older_than=str(version + 1_000_000))
