"""Ends jobs: archives their final records, removes them from the cluster, and starts next attempts."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from structlog.typing import FilteringBoundLogger

from jobworker.v1 import job_pb2
from jobworker_cluster import names
from jobworker_cluster.pods import JobPod
from jobworker_gateway.engine import ArchivedJob
from jobworker_gateway.kubernetes import decisions, time_now
from jobworker_gateway.kubernetes.attempts import Attempts
from jobworker_gateway.kubernetes.cluster_state import ClusterState
from jobworker_gateway.kubernetes.decisions import Archive, DeletePod, Retry, Wait
from jobworker_gateway.kubernetes.nodes import NodeTable

TAKE_OVER_SECONDS = 10.0
"""Time after which a gateway removes the Pod of another one, which then probably has ended.

The job is final before that. A shorter time would let all gateways do the same work when they are busy.
"""


@dataclass(frozen=True)
class Finalizer:
    """Does what `decisions.decide` says. The order of its steps makes each of them safe to repeat.

    The archive gets the record first. Then the Secret goes, so that no agent can start the job any more.
    The Pod goes last: a job without a Pod is in the archive, between two attempts, or not started yet.

    `later` calls `reconcile` for a job after a time.
    """

    state: ClusterState
    attempts: Attempts
    nodes: NodeTable
    later: Callable[[str, float], None]
    log: FilteringBoundLogger = field(default_factory=structlog.get_logger)
    doomed: set[str] = field(default_factory=set)
    """Jobs that end with their node if the node is gone."""

    def is_needed(self, job_id: str) -> bool:
        """Return whether `reconcile` has something to do for a job that has changed."""
        pod = self.state.pods.get(job_id)
        if pod is None or job_id in self.state.unaccepted or decisions.depends_on_node(pod):
            return True
        return not isinstance(decisions.decide(pod, time_now.timestamp(), node_gone=False), Wait)

    async def reconcile(self, job_id: str) -> None:
        """Do the next steps for a job.

        Raises:
            KubeError, ClusterUnavailable: it must be tried again.
        """
        self.doomed.discard(job_id)
        pod = self.state.pods.get(job_id)
        if pod is None:
            await self._without_pod(job_id)
        elif self.state.is_final(job_id):
            await self._remove(pod)
        elif decisions.depends_on_node(pod):
            await self._end_with_node(pod)
        else:
            await self._act(pod, node_gone=False)

    async def end(self, pod: JobPod) -> job_pb2.Job | None:
        """Archive the final record in a Pod and return the job of the archive; None if it continues.

        Call `remove` then: no other gateway has seen the end of the job.

        Raises:
            ClusterUnavailable: the archive does not answer.
            KubeError: the cluster does not answer, and this gateway has not seen the Secret of the job yet.
        """
        match decisions.decide(pod, time_now.timestamp(), node_gone=False):
            case Archive(job=job):
                return await self._store(pod, job)
        return None

    async def remove(self, job_id: str) -> None:
        """Remove an archived job from the cluster.

        Raises:
            KubeError: it must be tried again.
        """
        if pod := self.state.pods.get(job_id):
            await self._release(pod)

    async def _end_with_node(self, pod: JobPod) -> None:
        if not self.nodes.suspects(pod.node):
            self.doomed.add(pod.job_id)
            return
        # Ask for the node first: what it has reported before its loss is in the Pod then.
        gone = await self.nodes.is_gone(pod.node, self.attempts.kube)
        if not gone:
            self.doomed.add(pod.job_id)
        fresh = await self.attempts.pod(pod.job_id)
        if fresh and fresh.uid == pod.uid:
            await self._act(fresh, node_gone=gone)

    async def _act(self, pod: JobPod, *, node_gone: bool, accepted: bool = True) -> None:
        now = time_now.timestamp()
        match decisions.decide(pod, now, node_gone=node_gone, accepted=accepted):
            case Archive(job=job):
                await self._store(pod, job)
                await self._remove(pod)
            case Retry():
                if not await self._retry(pod):
                    await self._act(pod, node_gone=node_gone, accepted=False)
            case DeletePod():
                await self.attempts.delete(pod)
            case Wait() if pod.job_id in self.state.unaccepted:
                await self._check_archive(pod)

    async def _store(self, pod: JobPod, job: job_pb2.Job) -> job_pb2.Job:
        """Archive a final record, and return the one that the archive has then."""
        key = names.key_of_secret(pod.secret)
        request_hash = await self._request_hash(pod) if key else ""
        archived = await self.attempts.archive.add(ArchivedJob(job, key, request_hash))
        if self.state.is_final(pod.job_id):  # since the archive was asked
            return archived
        self.state.finish(archived)
        status = job_pb2.JobStatus.Name(archived.status).removeprefix("JOB_STATUS_").lower()
        self.log.info("job ended", job_id=pod.job_id, status=status, node=archived.node, owner=archived.owner)
        return archived

    async def _request_hash(self, pod: JobPod) -> str:
        """Return the hash of the request of a job. If its Secret is gone, the archive has the job already."""
        seen = self.state.secrets.get(pod.job_id)
        if seen and seen.uid == pod.secret_uid:
            return seen.request_hash
        # The watch of the Secrets can be slower than that of the Pods.
        return await self.attempts.request_hash(pod)

    async def _remove(self, pod: JobPod) -> None:
        """Remove an archived job from the cluster. The gateway that created the Pod is the first to do so."""
        if pod.gateway != self.attempts.gateway and self._is_new(pod.job_id):
            self.later(pod.job_id, TAKE_OVER_SECONDS)
            return
        await self._release(pod)

    async def _release(self, pod: JobPod) -> None:
        await self.attempts.delete_secret(pod.secret, pod.secret_uid)
        await self.attempts.release(pod)

    def _is_new(self, job_id: str) -> bool:
        return self.state.is_final(job_id) and self.state.seconds_final(job_id) < TAKE_OVER_SECONDS

    async def _retry(self, pod: JobPod) -> bool:
        """Start the next attempt.

        False: the Secret of the job was removed, so that only the archive is left.
        """
        if not await self.attempts.advance(pod):
            return False
        self.log.info("job starts again", job_id=pod.job_id, attempt=pod.attempt + 1, lost_node=pod.node)
        await self.attempts.release(pod, unchanged=True)
        await self._without_pod(pod.job_id)
        return True

    async def _check_archive(self, pod: JobPod) -> None:
        """Remove a Pod that a slow gateway created after another one had archived the job.

        Most often, the other one has just removed the Secret, and removes the Pod next.
        """
        if archived := await self.attempts.archive.find(pod.job_id):
            self.state.finish(archived)
            await self._remove(pod)
        self.state.unaccepted.discard(pod.job_id)

    async def _without_pod(self, job_id: str) -> None:
        if secret := await self.attempts.secret(job_id):
            found = await self.attempts.resume(secret, self.state.vanished.get(job_id))
            match found:
                case JobPod():
                    self.state.learn(found)
                case None:
                    self.state.forget(job_id)
                case _:
                    self.state.finish(found)
        elif archived := await self.attempts.archive.find(job_id):
            self.state.finish(archived)
        else:
            # A client deleted the final job, or an administrator deleted its Secret and its Pod.
            self.state.forget(job_id)
