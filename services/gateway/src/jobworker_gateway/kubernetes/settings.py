"""Settings of the engine on Kubernetes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class KubernetesSettings:
    """Settings for Kubernetes.

    Without `kubeconfig`, it uses the service account of its Pod. `queues` maps the name of each queue, in
    addition to the default one, to the labels of its nodes. A node is lost if its Lease has not changed for
    `lost_after` seconds: the duration of the Lease, plus the time that a node needs to kill its jobs.
    """

    namespace: str = "jobworker"
    kubeconfig: Path | None = None
    queues: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lost_after: float = 25.0
