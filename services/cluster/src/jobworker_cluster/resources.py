"""The kinds of objects in Kubernetes that jobs need, and selections of objects."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """A kind of objects, such as the Pods of a namespace. `namespace` is empty for all namespaces and for
    kinds without one. Calls for one object of an `urgent` kind do not share the connections of other calls.
    """

    api: str
    plural: str
    namespace: str = ""
    urgent: bool = False

    def path(self, name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of an object or of a part of it."""
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        parts = (f"/{self.api}{scope}/{self.plural}", name, subresource)
        return "/".join(part for part in parts if part)


def pods(namespace: str = "") -> Resource:
    """Return the Pods of a namespace, or of all."""
    return Resource("api/v1", "pods", namespace)


def secrets(namespace: str) -> Resource:
    """Return the Secrets of a namespace."""
    return Resource("api/v1", "secrets", namespace)


NODES = Resource("api/v1", "nodes")
NODE_LEASES = Resource("apis/coordination.k8s.io/v1", "leases", "kube-node-lease", urgent=True)
PRIORITY_CLASSES = Resource("apis/scheduling.k8s.io/v1", "priorityclasses")


@dataclass(frozen=True)
class Selection:
    """The objects of a kind to list or watch. With `metadata_only`, they lack everything else."""

    resource: Resource
    labels: str = ""
    fields: str = ""
    metadata_only: bool = False

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the request."""
        return {
            name: value
            for name, value in (("labelSelector", self.labels), ("fieldSelector", self.fields))
            if value
        }
