"""The Pods and Secrets of jobs, as the watches and the calls of this gateway report them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from jobworker.v1 import job_pb2
from jobworker_cluster import names, pods
from jobworker_cluster.kube import Json
from jobworker_cluster.pods import InvalidPod, JobPod
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworker_gateway.kubernetes import views
from jobworker_gateway.kubernetes.allocations import Allocations
from jobworker_gateway.kubernetes.nodes import NodeTable


@dataclass(frozen=True)
class SeenSecret:
    """A Secret of a job, without its data."""

    name: str
    uid: str
    request_hash: str = ""


class ClusterState:
    """Keeps the table of jobs current.

    `on_change` gets the id of each job of which a Pod or a Secret appears, changes or disappears.
    """

    def __init__(
        self,
        table: JobTable,
        nodes: NodeTable,
        allocations: Allocations,
        on_change: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pods: dict[str, JobPod] = {}
        self.secrets: dict[str, SeenSecret] = {}
        self.vanished: dict[str, JobPod] = {}
        """The last state of Pods that have disappeared. Another Pod or the archive follows."""

        self.unaccepted: set[str] = set()
        """Jobs with a Pod that the archive may have: it has no Secret, or has come back from a backup."""

        self._table = table
        self._nodes = nodes
        self._allocations = allocations
        self._on_change = on_change
        self._clock = clock
        self._version = 0
        self._finals: dict[str, float] = {}

    def list_pods(self, items: Iterable[Json], version: int) -> None:
        """Replace all Pods by those of a list.

        They can be older than the known ones, if the store of the apiserver was restored from a backup.
        """
        found = [pod for pod in map(_read, items) if pod]
        present = {pod.job_id for pod in found}
        is_restored = version < self._version
        # A change that this gateway made after the list is not in it.
        newer = {job_id for job_id, pod in self.pods.items() if pod.version > version and not is_restored}
        # This gateway would know them. The job can have ended, and be in the archive.
        returned = {pod.job_id for pod in found if pod.version <= self._version} - self.pods.keys()
        self._version = version
        self.unaccepted = present - self.secrets.keys() | returned
        for pod in found:
            if pod.job_id not in newer:
                self._put(pod, is_listed=True)
        for pod in [each for each in self.pods.values() if each.job_id not in present | newer]:
            self._drop(pod)

    def change_pod(self, item: Json, version: int) -> None:
        """Note a new or changed Pod."""
        self._version = version
        if pod := _read(item):
            self._put(pod)
        else:
            self._lose(item)

    def delete_pod(self, item: Json, version: int) -> None:
        """Note that a Pod has disappeared."""
        self._version = version
        self._lose(item)

    def advance(self, version: int) -> None:
        """Note that nothing else has changed up to a version."""
        self._version = version

    def learn(self, pod: JobPod) -> LiveJob | None:
        """Note a Pod from a call of this gateway, and return the job as the table has it then.

        None: the Pod has disappeared since. Versions of the cluster tell the newer state.
        """
        if pod.version > self._version:
            self._put(pod)
        return self._table.get(pod.job_id)

    def finish(self, job: job_pb2.Job) -> None:
        """Note that the archive has a job."""
        if job.id in self.pods or self._table.get(job.id):
            self._finals.setdefault(job.id, self._clock())
            pod = self.pods.get(job.id)
            address = self._nodes.address(job.node)
            self._table.put(LiveJob(job, pod.uid if pod else "", address))
        if job.id not in self.pods:
            self.forget(job.id)

    def is_final(self, job_id: str) -> bool:
        """Return whether the archive has a job, as far as this gateway knows."""
        return job_id in self._finals

    def seconds_final(self, job_id: str) -> float:
        """Return for how long this gateway has known that the archive has a job."""
        return self._clock() - self._finals[job_id]

    def forget(self, job_id: str) -> None:
        """Remove a job that has no Pod."""
        self._finals.pop(job_id, None)
        self.vanished.pop(job_id, None)
        self._table.remove(job_id)

    def list_secrets(self, items: Iterable[Json]) -> list[str]:
        """Replace all Secrets by those of a list. Return the ids of the jobs without a Pod."""
        self.secrets = dict(filter(None, map(_seen_secret, items)))
        return [job_id for job_id in self.secrets if job_id not in self.pods]

    def change_secret(self, item: Json) -> str:
        """Note a new or changed Secret. Return the id of the job if it has no Pod, else an empty string."""
        if found := _seen_secret(item):
            job_id, self.secrets[job_id] = found[0], found[1]
            return "" if job_id in self.pods else job_id
        return ""

    def delete_secret(self, item: Json) -> None:
        """Note that a Secret has disappeared."""
        if found := _seen_secret(item):
            job_id, secret = found
            known = self.secrets.get(job_id)
            if known and known.uid == secret.uid:
                del self.secrets[job_id]
                if job_id in self.pods and not self.is_final(job_id):
                    self.unaccepted.add(job_id)
                    self._on_change(job_id)

    def _put(self, pod: JobPod, *, is_listed: bool = False) -> None:
        known = self.pods.get(pod.job_id)
        if known and known.version > pod.version and not is_listed:
            return
        self.pods[pod.job_id] = pod
        self.vanished.pop(pod.job_id, None)
        self._allocations.replace(known, pod)
        if not self.is_final(pod.job_id):
            address = self._nodes.address(pod.node)
            reserved = pod.reserved_cpu, pod.reserved_memory
            self._table.put(LiveJob(views.job_of(pod), pod.uid, address, pod.priority, reserved))
            self._on_change(pod.job_id)

    def _lose(self, item: Json) -> None:
        """Drop a Pod that has disappeared, or that cannot be read any more."""
        known = self.pods.get(names.job_of_pod(item["metadata"]["name"]))
        if known and known.uid == item["metadata"]["uid"]:
            self._drop(known)

    def _drop(self, pod: JobPod) -> None:
        del self.pods[pod.job_id]
        self.unaccepted.discard(pod.job_id)
        self._allocations.replace(pod, None)
        if self.is_final(pod.job_id):
            self.forget(pod.job_id)
        else:
            self.vanished[pod.job_id] = pod
            self._on_change(pod.job_id)


def _read(item: Json) -> JobPod | None:
    try:
        return pods.read(item)
    except InvalidPod as error:
        structlog.get_logger().warning("pod ignored", error=str(error))
        return None


def _seen_secret(item: Json) -> tuple[str, SeenSecret] | None:
    metadata = item["metadata"]
    job_id = (metadata.get("labels") or {}).get(names.JOB_ID)
    if not job_id:
        structlog.get_logger().warning("secret ignored", name=metadata["name"])
        return None
    request_hash = (metadata.get("annotations") or {}).get(names.REQUEST_HASH, "")
    return job_id, SeenSecret(metadata["name"], metadata["uid"], request_hash)
