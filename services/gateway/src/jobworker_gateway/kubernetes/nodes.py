"""The nodes of the cluster, and which of them are gone."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from jobworker.v1 import cluster_service_pb2
from jobworker_cluster import names, quantities
from jobworker_cluster.kube import Json, Kube
from jobworker_cluster.kube_errors import NotFound
from jobworker_cluster.resources import NODE_LEASES
from jobworker_gateway.kubernetes.allocations import Allocations

_SILENCES = frozenset({"NodeStatusUnknown", "NodeStatusNeverUpdated"})

_SILENT = "the agent does not report; check jobworker-agent on the host, and its link to the API server"

_MAX_BYTES = 16 * 1024
"""Size of a node. Without a bound, one host could make a list of nodes larger than a response can be."""


class InvalidNode(ValueError):
    """Raised for a Node with a value that no agent writes. An attacker can control an agent."""


@dataclass(frozen=True)
class SeenLease:
    """A renewal of a Lease, and when this gateway saw it first. Clocks of other hosts do not matter."""

    renewal: str
    since: float


class NodeTable(Mapping[str, cluster_service_pb2.Node]):
    """The nodes by name."""

    def __init__(
        self, allocations: Allocations, lost_after: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allocations = allocations
        self._lost_after = lost_after
        self._clock = clock
        self._nodes: dict[str, cluster_service_pb2.Node] = {}
        self._leases: dict[str, SeenLease] = {}

    def __getitem__(self, name: str) -> cluster_service_pb2.Node:
        """Return a node with the resources that are allocated now."""
        node = cluster_service_pb2.Node()
        node.CopyFrom(self._nodes[name])
        node.allocated.CopyFrom(self._allocations.of(name))
        return node

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(tuple(self._nodes))

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self._nodes)

    def address(self, name: str) -> str:
        """Return the address of a node's server; empty if it is not known."""
        return self._nodes[name].address if name in self._nodes else ""

    def put(self, item: Json) -> None:
        """Store the state of a Node. An invalid one is ignored, so that it cannot end the gateway."""
        if node := _read(item):
            self._nodes[node.name] = node

    def remove(self, name: str) -> None:
        """Forget a Node that was deleted."""
        self._nodes.pop(name, None)

    def replace(self, items: Sequence[Json]) -> None:
        """Replace all Nodes. Invalid ones keep their former state."""
        former = self._nodes
        listed = [item["metadata"]["name"] for item in items]
        self._nodes = {name: former[name] for name in listed if name in former}
        for item in items:
            self.put(item)

    def put_lease(self, item: Json) -> None:
        """Note the state of a node's Lease."""
        self._see(item["metadata"]["name"], _renewal(item))

    def replace_leases(self, items: Iterable[Json]) -> None:
        """Note the state of all Leases, and forget those of removed nodes."""
        listed = {item["metadata"]["name"]: _renewal(item) for item in items}
        self._leases = {name: seen for name, seen in self._leases.items() if name in listed}
        for name, renewal in listed.items():
            self._see(name, renewal)

    def remove_lease(self, name: str) -> None:
        """Forget a Lease that was deleted. A node without one is gone after the same time as any other."""
        self._leases.pop(name, None)

    def excuse_silence(self) -> None:
        """Let the silence of each node begin now: while the cluster does not answer, no Lease is renewed."""
        now = self._clock()
        self._leases = {name: replace(seen, since=now) for name, seen in self._leases.items()}

    def suspects(self, name: str) -> bool:
        """Return whether a node may be gone: its Lease has not changed for too long, or it has none.

        A missing Node does not matter: while the agent renews the Lease, it reports the end of its jobs.
        """
        seen = self._see(name, self._leases[name].renewal if name in self._leases else "")
        return self._clock() - seen.since >= self._lost_after

    async def is_gone(self, name: str, kube: Kube) -> bool:
        """Ask the cluster whether a suspected node is gone.

        This gateway could have missed a renewal, so the Lease itself decides.

        Raises:
            KubeError: the cluster does not answer.
        """
        try:
            renewal = _renewal(await kube.get(NODE_LEASES, name))
        except NotFound:
            renewal = ""
        seen = self._see(name, renewal)
        return self._clock() - seen.since >= self._lost_after

    def _see(self, name: str, renewal: str) -> SeenLease:
        seen = self._leases.get(name)
        if seen is None or seen.renewal != renewal:
            seen = self._leases[name] = SeenLease(renewal, self._clock())
        return seen


def read_node(item: Json) -> cluster_service_pb2.Node:
    """Return the node in a Node object, without the allocated resources.

    Raises:
        InvalidNode: a value is out of range, or too long.
    """
    try:
        node = _node(item)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise InvalidNode(f"Node {item['metadata']['name']}: {error}") from error
    if (size := node.ByteSize()) > _MAX_BYTES:
        raise InvalidNode(f"Node {node.name}: its {size} bytes are more than {_MAX_BYTES}")
    return node


def _read(item: Json) -> cluster_service_pb2.Node | None:
    try:
        return read_node(item)
    except InvalidNode as error:
        structlog.get_logger().warning("node ignored", error=str(error))
        return None


def _node(item: Json) -> cluster_service_pb2.Node:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = [_condition(each) for each in status.get("conditions") or ()]
    info = status.get("nodeInfo") or {}
    node = cluster_service_pb2.Node(
        name=metadata["name"],
        address=annotations.get(names.ADDRESS, ""),
        ready=any(each.type == "Ready" and each.status == "True" for each in conditions),
        schedulable=not spec.get("unschedulable"),
        capacity=_resources(status.get("allocatable") or {}),
        conditions=conditions,
        labels=metadata.get("labels") or {},
        version=info.get("kubeletVersion", "").removeprefix("v").partition("-")[0],
    )
    if created := metadata.get("creationTimestamp"):
        node.create_time.FromDatetime(datetime.fromisoformat(created))
    return node


def _resources(amounts: Json) -> cluster_service_pb2.NodeResources:
    return cluster_service_pb2.NodeResources(
        cpu=quantities.percent(amounts.get("cpu", "0")),
        memory=quantities.mebibytes(amounts.get("memory", "0")),
        jobs=int(quantities.parse(amounts.get("pods", "0"))),
    )


def _condition(each: Json) -> cluster_service_pb2.NodeCondition:
    reason = each.get("reason") or ""
    condition = cluster_service_pb2.NodeCondition(
        type=each["type"],
        status=each["status"],
        reason=reason,
        # The controller manager of Kubernetes names the kubelet, which a node of jobworker does not have.
        message=_SILENT if reason in _SILENCES else each.get("message") or "",
    )
    if changed := each.get("lastTransitionTime"):
        condition.transition_time.FromDatetime(datetime.fromisoformat(changed))
    return condition


def _renewal(lease: Json) -> str:
    """Return a text that differs between two renewals, also if the clock of the node was set back."""
    return str(lease["metadata"]["resourceVersion"])
