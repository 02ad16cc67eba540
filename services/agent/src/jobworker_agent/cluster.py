"""The objects in Kubernetes that the agent reads and writes."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from jobworker.v1 import job_pb2
from jobworker_agent.pod_status import JsonObject
from jobworker_cluster.pods import JobPod
from jobworker_cluster.trace_headers import TraceHeaders


class ClusterUnavailable(Exception):
    """The same call can succeed later: Kubernetes does not answer, or refuses the identity of the agent."""


class SecretRefused(ClusterUnavailable):
    """The agent may not read the Secret (yet): it lacks the right, or Kubernetes has not seen the Pod."""


class SecretUnreadable(Exception):
    """The Secret does not exist, or has no request."""


class AttemptOver(Exception):
    """The cluster has given up this attempt, so it must not start."""


@dataclass(frozen=True)
class Spec:
    """The content of a Secret that a start needs: a serialized CreateJobRequest, and the trace of the job."""

    request: bytes
    trace: TraceHeaders = field(default_factory=TraceHeaders)


@dataclass(frozen=True)
class NodeView:
    """The Node object, as far as the agent compares it with its own state.

    `ready` is the value of the condition Ready and `ready_since` the time of its last change; both are
    empty before the first one.
    """

    uid: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    tainted: bool = True
    unschedulable: bool = False
    ready: str = ""
    ready_since: str = ""


@dataclass(frozen=True)
class PodsListed:
    """All Pods of the node. A Pod that is not among them is gone."""

    pods: tuple[JobPod, ...]


@dataclass(frozen=True)
class PodSeen:
    """A new Pod, or a new state of one."""

    pod: JobPod


@dataclass(frozen=True)
class PodGone:
    """A Pod that does not exist any more."""

    uid: str


PodEvent: TypeAlias = PodsListed | PodSeen | PodGone


class Cluster(Protocol):
    """The objects of this node. Each method raises ClusterUnavailable if the same call can succeed later."""

    def time(self) -> datetime:
        """Return the time of the cluster. The clock of this host can be wrong."""

    async def node(self) -> NodeView | None:
        """Return the Node; None if it does not exist."""

    async def create_node(self, node: JsonObject) -> None:
        """Create the Node."""

    async def patch_node(self, patch: JsonObject) -> None:
        """Change labels and annotations of the Node."""

    async def patch_node_status(self, patch: JsonObject) -> None:
        """Change the status of the Node."""

    async def claim_node(self) -> None:
        """Return if this agent may be the node.

        ClusterUnavailable is also raised while another agent with the same name is it.
        """

    async def renew_lease(self, seconds: int, node_uid: str) -> None:
        """Renew the Lease of the node, or create it. It is deleted with the Node."""

    async def read_spec(self, pod: JobPod) -> Spec:
        """Return the content of the Secret of a Pod.

        Raises:
            AttemptOver: the Secret is that of a later attempt, or of a later job of the same request.
            SecretUnreadable: the Secret does not exist, or has no request.
            SecretRefused: the agent may not read it (yet).
        """

    async def note_shortage(self, pod: JobPod, why: str) -> None:
        """Write into a Pod what its node lacks to start it, for clients. Does nothing if it has changed."""

    async def report(self, pod: JobPod, job: job_pb2.Job) -> JobPod | None:
        """Write the record and the status of a Pod, and return the Pod; None if it does not exist any more.

        ClusterUnavailable is also raised if the Pod has changed. The caller soon learns its new state.
        """

    def pods(self) -> AsyncIterator[PodEvent]:
        """Iterate over the Pods of the node, and then their changes. It never ends by itself.

        It retries after errors, and begins with all Pods again when it has missed changes. After an
        iteration that was cancelled, the next one continues with the changes since then.
        """
