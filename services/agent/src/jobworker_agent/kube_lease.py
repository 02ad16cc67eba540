"""The Lease of the node, in Kubernetes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from jobworker_agent.cluster import ClusterUnavailable
from jobworker_agent.lease import LEASE_SECONDS, boot_time
from jobworker_cluster.kube import Json, Kube
from jobworker_cluster.kube_errors import Conflict, NotFound
from jobworker_cluster.resources import NODE_LEASES

_SILENCE_SECONDS = LEASE_SECONDS + 10
"""Time after which a gateway gives up a node, too. The jobs that end with its lease have ended by then."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class KubeLease:
    """The Lease of a node. One agent renews it: the others with its name are not the node.

    Each method also raises the errors of Kube.
    """

    def __init__(
        self,
        kube: Kube,
        node: str,
        machine: str,
        clock: Callable[[], float] = boot_time,
        time: Callable[[], datetime] = _now,
    ) -> None:
        """`machine` identifies the host, also after the agent or the host has started again.

        `time` is the wall clock, which can be set back.
        """
        self._kube = kube
        self._node = node
        self._holder = f"{node}_{machine}"
        self._clock = clock
        self._time = time
        self._version = ""
        self._renewed = _NEVER
        self._seen = ("", 0.0)
        """The last renewal of another agent, and when this one saw it first."""

    async def claim(self) -> None:
        """Return if this agent may be the node.

        Raises:
            ClusterUnavailable: another agent is it, and has renewed the Lease in the last 25 s.
        """
        try:
            await self._read()
        except NotFound:
            self._version = ""

    async def renew(self, seconds: int, node_uid: str) -> None:
        """Renew the Lease, or create it. It is deleted with the Node.

        Raises:
            ClusterUnavailable: another agent is the node.
        """
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": node_uid}
        try:
            await self._write(seconds)
        except NotFound:
            spec = self._spec(seconds)
            metadata = {"name": self._node, "ownerReferences": [owner]}
            created = await self._kube.create(NODE_LEASES, {"metadata": metadata, "spec": spec})
            self._learn(created)

    async def _write(self, seconds: int) -> None:
        """Write a renewal, unless a later one has been written.

        A renewal can arrive after a cut of the network, long after a later one. If it set the time back, the
        controller manager would take a dead node for alive forever: it waits for a time that grows.
        """
        try:
            await self._patch(seconds)
        except Conflict:
            # The answer of an earlier renewal was lost, or another agent is the node.
            self._version = ""
            await self._patch(seconds)

    async def _patch(self, seconds: int) -> None:
        if not self._version:
            await self._read()
        patch = {"metadata": {"resourceVersion": self._version}, "spec": self._spec(seconds)}
        self._learn(await self._kube.patch(NODE_LEASES, self._node, patch))

    def _spec(self, seconds: int) -> Json:
        # After the clock of the host was set back, too: see `_write`. Some versions of the controller manager
        # would rather evict all jobs of the node.
        time = max(self._time(), self._renewed + timedelta(milliseconds=1))
        return {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": seconds,
            "renewTime": time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }

    def _learn(self, lease: Json) -> None:
        self._version = str(lease["metadata"]["resourceVersion"])
        time = (lease.get("spec") or {}).get("renewTime")
        self._renewed = datetime.fromisoformat(time) if time else _NEVER

    async def _read(self) -> None:
        """Learn the state of the Lease, unless another agent renews it."""
        # A patch without a change returns the object, and needs no right to read it.
        current = await self._kube.patch(NODE_LEASES, self._node, {})
        version = str(current["metadata"]["resourceVersion"])
        holder = (current.get("spec") or {}).get("holderIdentity") or self._holder
        if holder != self._holder:
            # As a gateway does, measure the time since a change: the clocks of two hosts can differ.
            if self._seen[0] != version:
                self._seen = (version, self._clock())
            if self._clock() - self._seen[1] < _SILENCE_SECONDS:
                raise ClusterUnavailable(
                    f"another agent, {holder}, renews the lease of node {self._node}; "
                    "give each host its own node name"
                )
        self._learn(current)
