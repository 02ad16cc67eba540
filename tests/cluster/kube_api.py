"""Calls a kube-apiserver over HTTPS, without a library, so that tests see the objects as they are."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.cluster.pki import Pair

Json = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_CLUSTER_SCOPED = {"Namespace", "Node", "PriorityClass", "ClusterRole", "ClusterRoleBinding"}
_IRREGULAR = {"PriorityClass": "priorityclasses", "NetworkPolicy": "networkpolicies"}


class ApiError(Exception):
    """The apiserver refused a call."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class KubeApi:
    """Calls one apiserver with one certificate. Each call has its own connection."""

    def __init__(self, server: str, ca: Path, client: Pair) -> None:
        """`server` is the address, such as https://127.0.0.1:6443."""
        self._host = urlsplit(server).netloc
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(client.certificate, client.key)

    def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Json:
        """Make a call and return the answer.

        Raises:
            ApiError: the apiserver refused the call.
            OSError: the apiserver does not answer.
        """
        connection = http.client.HTTPSConnection(self._host, timeout=30, context=self._context)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": content_type})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(response.status, text.decode(errors="replace")[:1000])
        answer: Json = json.loads(text) if text.startswith(b"{") else {"text": text.decode()}
        return answer

    def items(self, path: str) -> list[Json]:
        """Return the objects of a list."""
        found: list[Json] = self.call("GET", path)["items"]
        return found

    def apply(self, manifest: Json) -> None:
        """Create or change an object, as `kubectl apply --server-side` does."""
        self.call("PATCH", f"{object_path(manifest)}?fieldManager=test&force=true", manifest, APPLY)

    def is_ready(self) -> bool:
        """Return whether the apiserver is ready."""
        try:
            self.call("GET", "/readyz")
        except (ApiError, OSError):
            return False
        return True

    def cordon(self, node: str, *, on: bool = True) -> None:
        """Keep new Pods from a node, as `kubectl cordon` does, or undo that."""
        self.call("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": on}}, MERGE)

    def evict(self, namespace: str, pod: str) -> None:
        """Evict a Pod, as `kubectl drain` does with each Pod of the node."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        self.call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", eviction)

    def drain(self, node: str, namespace: str = "jobworker") -> None:
        """Cordon a node and evict its Pods, as `kubectl drain` does."""
        self.cordon(node)
        for pod in self.items(f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName={node}"):
            if "deletionTimestamp" not in pod["metadata"]:
                self.evict(namespace, pod["metadata"]["name"])


def object_path(manifest: Json) -> str:
    """Return the path of an object."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = _IRREGULAR.get(kind, f"{kind.lower()}s")
    scope = "" if kind in _CLUSTER_SCOPED else f"/namespaces/{metadata.get('namespace', 'default')}"
    return f"{root}{scope}/{plural}/{metadata['name']}"


def manifests(path: Path) -> Iterator[Json]:
    """Yield the objects of a YAML file."""
    yield from (each for each in yaml.safe_load_all(path.read_text()) if each)


def wait_until_ready(api: KubeApi, seconds: float = 120) -> None:
    """Wait until an apiserver is ready."""
    deadline = time.monotonic() + seconds
    while not api.is_ready():
        if time.monotonic() > deadline:
            raise AssertionError(f"the apiserver was not ready within {seconds} s")
        time.sleep(0.1)
