"""The resources that the cluster has assigned to jobs, by node."""

from collections import defaultdict

from jobworker.v1 import cluster_service_pb2
from jobworker_cluster.pods import JobPod

_Amounts = tuple[int, int, int]


class Allocations:
    """Sums of CPU, memory and jobs of the Pods that are bound to a node and hold its resources."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, _Amounts] = defaultdict(lambda: (0, 0, 0))

    def replace(self, former: JobPod | None, pod: JobPod | None) -> None:
        """Note the new state of a Pod. None: it does not exist."""
        if former:
            self._add(former, -1)
        if pod:
            self._add(pod, 1)

    def of(self, node: str) -> cluster_service_pb2.NodeResources:
        """Return the sums of a node."""
        cpu, memory, jobs = self._sums.get(node, (0, 0, 0))
        return cluster_service_pb2.NodeResources(cpu=cpu, memory=memory, jobs=jobs)

    def _add(self, pod: JobPod, sign: int) -> None:
        if not pod.node or pod.phase in {"Succeeded", "Failed"}:
            return
        cpu, memory, jobs = self._sums[pod.node]
        sums = (cpu + sign * pod.reserved_cpu, memory + sign * pod.reserved_memory, jobs + sign)
        self._sums[pod.node] = sums
        if not sums[2]:
            del self._sums[pod.node]
