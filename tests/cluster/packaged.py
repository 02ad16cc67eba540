"""The manifests of packaging/kubernetes/cluster, as a user of the project applies them."""

import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.kube_api import ApiError, Json, KubeApi, manifests

NAMESPACE = "jobworker"
DIRECTORY = Path(__file__).parents[2] / "packaging/kubernetes/cluster"

_ACCOUNT = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"


def objects() -> Iterator[Json]:
    """Yield all objects, the namespace first. The file for `kubectl apply -k` is not one of them."""
    files = sorted(DIRECTORY.glob("*.yaml"), key=lambda path: (path.name != "namespace.yaml", path.name))
    for path in files:
        if path.name != "kustomization.yaml":
            yield from manifests(path)


def apply(api: KubeApi) -> None:
    """Create all objects, and wait until Pods can be created in the namespace."""
    for each in objects():
        api.apply(each)
    deadline = time.monotonic() + 60
    while not _exists(api, _ACCOUNT):
        assert time.monotonic() < deadline, "the controller manager creates no service account"
        time.sleep(0.1)


def _exists(api: KubeApi, path: str) -> bool:
    try:
        api.call("GET", path)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True
