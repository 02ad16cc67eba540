"""The Node object of this host. Decides without I/O."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from jobworker.v1 import node_service_pb2
from jobworker_agent.pod_status import JsonObject, JsonValue
from jobworker_cluster import names

OWN_LABELS = "jobworker.dev/labels"
"""Annotation with the names of the labels that the agent has set, so that it can remove them."""

TAINT = {"key": names.NODE, "value": "", "effect": "NoSchedule"}


@dataclass(frozen=True)
class NodeIdentity:
    """The node as the configuration describes it. A maximum of 0 means that of the host.

    With `requires_limits`, the node is not ready while its host cannot enforce the limits of jobs.
    """

    name: str
    address: str
    labels: Mapping[str, str]
    max_cpu: int = 0
    max_memory: int = 0
    max_jobs: int = 0
    requires_limits: bool = True

    @property
    def host(self) -> str:
        """The host in the address, without the port."""
        return self.address.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def ip(self) -> str:
        """The host if it is an IP address, else empty."""
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return ""


@dataclass(frozen=True)
class SystemInfo:
    """Facts about the host that do not change while the agent runs. Read them with `read_system`."""

    machine_id: str
    boot_id: str
    architecture: str


@dataclass(frozen=True)
class HostState:
    """The host as it answered last, and the reason why it cannot run jobs now; empty if it can.

    `host` is None if it has not answered since the start of the agent.
    """

    host: node_service_pb2.GetHostResponse | None = None
    problem: str = ""

    @property
    def ready(self) -> str:
        """The value of the condition Ready."""
        return "False" if self.problem else "True"


@dataclass(frozen=True)
class ReadySince:
    """Times of the condition Ready: of this heartbeat, and of the last change of its value."""

    now: str
    since: str


def new_node(identity: NodeIdentity, system: SystemInfo) -> JsonObject:
    """Return the Node to create. A node may set its taint only then."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": identity.name, **_metadata(identity, system, {})},
        "spec": {"taints": [TAINT]},
    }


def node_changes(identity: NodeIdentity, system: SystemInfo, annotations: Mapping[str, str]) -> JsonObject:
    """Return the patch that makes labels and annotations of an existing Node those of the configuration."""
    return {"metadata": _metadata(identity, system, annotations)}


def _metadata(
    identity: NodeIdentity, system: SystemInfo, annotations: Mapping[str, str]
) -> dict[str, JsonValue]:
    labels = _labels(identity, system)
    former = annotations.get(OWN_LABELS, "").split(",")
    removed: dict[str, JsonValue] = {name: None for name in former if name and name not in labels}
    return {
        "labels": removed | labels,
        "annotations": {names.ADDRESS: identity.address, OWN_LABELS: ",".join(sorted(identity.labels))},
    }


def _labels(identity: NodeIdentity, system: SystemInfo) -> dict[str, JsonValue]:
    fixed = {
        names.NODE: "true",
        "kubernetes.io/hostname": identity.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": system.architecture,
    }
    return {**identity.labels, **fixed}


def node_status(
    identity: NodeIdentity, system: SystemInfo, state: HostState, ready: ReadySince
) -> JsonObject:
    """Return the patch of the status."""
    condition: JsonObject = {
        "type": "Ready",
        "status": state.ready,
        "reason": "HostNotReady" if state.problem else "HostReady",
        "message": state.problem or "jobworkerd answers",
        "lastHeartbeatTime": ready.now,
        "lastTransitionTime": ready.since,
    }
    status: dict[str, JsonValue] = {"conditions": [condition], "addresses": _addresses(identity)}
    if state.host:
        resources = _resources(identity, state.host)
        status |= {
            "capacity": resources,
            "allocatable": resources,
            "nodeInfo": _node_info(system, state.host),
        }
    return {"status": status}


def _resources(identity: NodeIdentity, host: node_service_pb2.GetHostResponse) -> JsonObject:
    return {
        "cpu": f"{_least(identity.max_cpu, host.max_cpu) * 10}m",  # percent of a core to thousandths
        "memory": f"{_least(identity.max_memory, host.max_memory)}Mi",
        "pods": str(_least(identity.max_jobs, host.max_jobs)),
    }


def _least(configured: int, found: int) -> int:
    return min(configured, found) if configured else found


def _addresses(identity: NodeIdentity) -> list[JsonValue]:
    kind = "InternalIP" if identity.ip else "InternalDNS"
    return [{"type": kind, "address": identity.host}, {"type": "Hostname", "address": identity.name}]


def _node_info(system: SystemInfo, host: node_service_pb2.GetHostResponse) -> JsonObject:
    return {
        "machineID": system.machine_id,
        "systemUUID": "",
        "bootID": system.boot_id,
        "kernelVersion": host.kernel,
        "osImage": "",
        "containerRuntimeVersion": f"jobworkerd://{host.version}",
        "kubeletVersion": f"v{host.version}-jobworkerd",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": system.architecture,
    }
