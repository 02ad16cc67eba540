"""The objects of this node, in Kubernetes."""

import base64
import binascii
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from jobworker.v1 import job_pb2
from jobworker_agent.cluster import (
    AttemptOver,
    ClusterUnavailable,
    NodeView,
    PodEvent,
    PodGone,
    PodSeen,
    PodsListed,
    SecretRefused,
    SecretUnreadable,
    Spec,
)
from jobworker_agent.kube_lease import KubeLease
from jobworker_agent.node_object import NodeIdentity
from jobworker_agent.pod_status import JsonObject, pod_status
from jobworker_cluster import job_secrets, names, records, trace_headers
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.kube import Json, Kube
from jobworker_cluster.kube_errors import Conflict, Forbidden, KubeError, NotFound
from jobworker_cluster.pods import InvalidPod, JobPod, read
from jobworker_cluster.reflector import Changed, Deleted, Listed, Reflector
from jobworker_cluster.resources import NODES, Selection, pods, secrets


@asynccontextmanager
async def connect(
    kubeconfig: Path | None, identity: NodeIdentity, namespace: str, machine: str
) -> AsyncIterator["KubeCluster"]:
    """Return the objects of a node for as long as the context lasts. `machine` identifies the host.

    Raises:
        InvalidKubeconfig: the kubeconfig cannot be used.
    """
    kube = await Kube.connect(kubeconfig)
    try:
        yield KubeCluster(kube, identity, namespace, machine)
    finally:
        await kube.close()


class KubeCluster:
    """The Node, the Lease and the Pods of a node. See Cluster."""

    def __init__(self, kube: Kube, identity: NodeIdentity, namespace: str, machine: str) -> None:
        self._kube = kube
        self._identity = identity
        self._name = identity.name
        self._pods = pods(namespace)
        self._secrets = secrets(namespace)
        self._lease = KubeLease(kube, identity.name, machine)
        selection = Selection(self._pods, names.ALL_JOBS, f"spec.nodeName={self._name}")
        self._pods_seen = Reflector(kube, selection)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    @property
    def certificate(self) -> ClientCertificate | None:
        """The client certificate of the agent in the kubeconfig; None if it has another credential."""
        return self._kube.certificate

    @property
    def calls(self) -> "Counter[tuple[str, int]]":
        """See Kube."""
        return self._kube.calls

    def time(self) -> datetime:
        """See Cluster."""
        return self._kube.time()

    async def refresh(self) -> bool:
        """See Kube."""
        return await self._kube.refresh()

    async def node(self) -> NodeView | None:
        """See Cluster."""
        with _unavailable():
            try:
                return _node_view(await self._kube.get(NODES, self._name))
            except NotFound:
                return None

    async def create_node(self, node: JsonObject) -> None:
        """See Cluster. A Node that exists by now is not an error."""
        with _unavailable(), suppress(Conflict):
            await self._kube.create(NODES, dict(node))

    async def patch_node(self, patch: JsonObject) -> None:
        """See Cluster."""
        with _unavailable():
            await self._kube.patch(NODES, self._name, dict(patch), kind="strategic")

    async def patch_node_status(self, patch: JsonObject) -> None:
        """See Cluster."""
        with _unavailable():
            await self._kube.patch(NODES, self._name, dict(patch), subresource="status", kind="strategic")

    async def claim_node(self) -> None:
        """See Cluster."""
        with _unavailable():
            await self._lease.claim()

    async def renew_lease(self, seconds: int, node_uid: str) -> None:
        """See Cluster."""
        with _unavailable():
            await self._lease.renew(seconds, node_uid)

    async def read_spec(self, pod: JobPod) -> Spec:
        """See Cluster."""
        with _unavailable():
            try:
                found = await self._kube.get(self._secrets, pod.secret)
                metadata = found["metadata"]
                _check_current(pod, metadata)
                trace = trace_headers.from_annotations(metadata.get("annotations") or {})
                return Spec(base64.b64decode(found["data"][names.SPEC_KEY], validate=True), trace)
            except Forbidden as error:
                raise SecretRefused(str(error)) from error
            except NotFound as error:
                raise SecretUnreadable(str(error)) from error
            except (KeyError, TypeError, binascii.Error) as error:
                raise SecretUnreadable(f"it has no key {names.SPEC_KEY}") from error

    async def note_shortage(self, pod: JobPod, why: str) -> None:
        """See Cluster."""
        metadata = {"uid": pod.uid, "resourceVersion": str(pod.version), "annotations": {names.SHORTAGE: why}}
        with _unavailable(), suppress(NotFound, Conflict):
            await self._kube.patch(
                self._pods, pod.name, {"metadata": metadata}, subresource="status", kind="strategic"
            )

    async def report(self, pod: JobPod, job: job_pb2.Job) -> JobPod | None:
        """See Cluster."""
        annotations = {names.RECORD: records.encode(records.strip(job))}
        patch = {
            # Kubernetes refuses the patch if a later attempt has the name now. It also refuses a record that
            # arrives after a later one, which can happen after a cut of the network.
            "metadata": {"uid": pod.uid, "resourceVersion": str(pod.version), "annotations": annotations},
            "status": pod_status(job, self._identity.ip),
        }
        with _unavailable():
            try:
                written = await self._kube.patch(
                    self._pods, pod.name, patch, subresource="status", kind="strategic"
                )
            except NotFound:
                return None
            except Conflict:
                if not await self._has_other_uid(pod):
                    raise
                return None
        return replace(pod, record=job, version=int(written["metadata"]["resourceVersion"]))

    async def pods(self) -> AsyncIterator[PodEvent]:
        """See Cluster."""
        async for event in self._pods_seen.events():
            match event:
                case Listed(items):
                    yield PodsListed(tuple(pod for item in items if (pod := self._read(item))))
                case Changed(item):
                    if pod := self._read(item):
                        yield PodSeen(pod)
                case Deleted(item):
                    yield PodGone(item["metadata"]["uid"])

    def _read(self, item: Json) -> JobPod | None:
        try:
            return read(item)
        except InvalidPod as error:
            self._log.warning("pod ignored", error=str(error))
            return None

    async def _has_other_uid(self, pod: JobPod) -> bool:
        try:
            found = await self._kube.get(self._pods, pod.name)
        except NotFound:
            return True
        return bool(found["metadata"]["uid"] != pod.uid)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except KubeError as error:
        raise ClusterUnavailable(str(error)) from error


def _check_current(pod: JobPod, secret: Json) -> None:
    """Check the metadata of a Secret. A gateway changes it before it removes the Pod of an attempt.

    So it is current even if this agent was cut off or suspended, and still believes in the Pod.
    """
    job_id = (secret.get("labels") or {}).get(names.JOB_ID, pod.job_id)
    if job_id != pod.job_id:
        raise AttemptOver(f"its Secret is that of job {job_id}")
    try:
        attempt = job_secrets.next_attempt(secret.get("annotations") or {})
    except ValueError as error:
        raise SecretUnreadable(str(error)) from error
    if attempt > pod.attempt:
        raise AttemptOver(f"attempt {attempt} has begun")


def _node_view(node: Json) -> NodeView:
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    conditions: list[Json] = status.get("conditions") or []
    ready = next((each for each in conditions if each["type"] == "Ready"), {})
    return NodeView(
        uid=metadata["uid"],
        annotations=metadata.get("annotations") or {},
        tainted=any(taint["key"] == names.NODE for taint in spec.get("taints") or ()),
        unschedulable=bool(spec.get("unschedulable")),
        ready=ready.get("status", ""),
        ready_since=ready.get("lastTransitionTime", ""),
    )
