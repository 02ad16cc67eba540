"""The engine on Kubernetes: watches, calls and timers, put together."""

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Self

from jobworker.v1 import cluster_service_pb2, job_pb2
from jobworker_cluster import names, records
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_cluster.kube import Kube
from jobworker_cluster.pods import JobPod
from jobworker_cluster.reflector import Changed, Current, Deleted, Listed, Reflector
from jobworker_cluster.resources import NODE_LEASES, NODES, Selection, secrets
from jobworker_cluster.resources import pods as pods_of
from jobworker_gateway.engine import AcceptedJob, Archive
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworker_gateway.kubernetes import credentials
from jobworker_gateway.kubernetes.allocations import Allocations
from jobworker_gateway.kubernetes.attempts import Attempts
from jobworker_gateway.kubernetes.cluster_errors import cluster_errors
from jobworker_gateway.kubernetes.cluster_state import ClusterState
from jobworker_gateway.kubernetes.finalizer import Finalizer
from jobworker_gateway.kubernetes.keyed_tasks import KeyedTasks
from jobworker_gateway.kubernetes.nodes import NodeTable
from jobworker_gateway.kubernetes.priorities import Priorities
from jobworker_gateway.kubernetes.problems import REFUSAL_DELAYS, Problems
from jobworker_gateway.kubernetes.queue_timeouts import QueueTimeouts, is_limited
from jobworker_gateway.kubernetes.settings import KubernetesSettings
from jobworker_gateway.kubernetes.submission import Submission
from jobworkerd.errors import JobNotFound

_TICK_SECONDS = 0.5
_MISSING_POD_SECONDS = 3.0
"""Time in which the gateway that stored a Secret creates the Pod. Afterwards, any gateway does."""

_LEASE_WATCH_SECONDS = 5
"""A silent cut of the network is noticed 5 s later, well before the nodes behind it are given up."""


class KubernetesEngine:
    """An `Engine` on Kubernetes. Use `connect`, and close it after `run` has ended."""

    def __init__(self, settings: KubernetesSettings, archive: Archive, kube: Kube) -> None:
        self._kube = kube
        self._complete = False
        allocations = Allocations()
        self._jobs = JobTable()
        self._nodes = NodeTable(allocations, settings.lost_after)
        self._missing_pods: dict[str, float] = {}
        self._attempts = Attempts(
            kube, settings.namespace, archive, Priorities(kube), settings.queues, os.urandom(8).hex()
        )
        self._state = ClusterState(self._jobs, self._nodes, allocations, self._changed)
        self._timeouts = QueueTimeouts(self._state.pods, lambda: kube.time().timestamp())
        self._finalizer = Finalizer(self._state, self._attempts, self._nodes, self._later)
        self._submission = Submission(self._attempts)
        self._tasks = KeyedTasks(self._finalizer.reconcile)
        self._ends_in_queue = KeyedTasks(self._time_out)
        self._removals = KeyedTasks(self._finalizer.remove)
        all_secrets = Selection(secrets(settings.namespace), names.ALL_JOBS, metadata_only=True)
        self._leases_seen = Reflector(
            kube,
            Selection(NODE_LEASES),
            watch_seconds=_LEASE_WATCH_SECONDS,
            on_problem=self._nodes.excuse_silence,
        )
        self._nodes_seen = Reflector(kube, Selection(NODES, labels=names.ALL_NODES))
        self._secrets_seen = Reflector(kube, all_secrets)
        self._pods_seen = Reflector(kube, Selection(pods_of(settings.namespace), names.ALL_JOBS))
        self._watches = (self._nodes_seen, self._leases_seen, self._secrets_seen, self._pods_seen)
        self._problems = Problems(lambda: self.problem, self._watches)
        self._errors = partial(cluster_errors, is_starting=lambda: self._problems.is_recent)

    @classmethod
    async def connect(cls, settings: KubernetesSettings, archive: Archive) -> Self:
        """Return an engine for the cluster of a kubeconfig.

        Raises:
            InvalidKubeconfig: it cannot be used.
        """
        return cls(settings, archive, await Kube.connect(settings.kubeconfig, REFUSAL_DELAYS))

    async def close(self) -> None:
        """Close the connections to the apiserver."""
        await self._kube.close()

    @property
    def certificate(self) -> ClientCertificate | None:
        """See Engine."""
        return self._kube.certificate

    @property
    def jobs(self) -> JobTable:
        """The jobs that are not archived, as this gateway sees them."""
        return self._jobs

    @property
    def nodes(self) -> Mapping[str, cluster_service_pb2.Node]:
        """The nodes by name."""
        return self._nodes

    @property
    def problem(self) -> str:
        """The reason why `jobs` and `nodes` are not current; empty if they are."""
        return next((each.problem for each in self._watches if each.problem), "")

    @property
    def complete(self) -> bool:
        """Whether all jobs and nodes have been listed since the start."""
        return self._complete

    async def run(self) -> None:
        """Keep the table current and archive final jobs, until cancelled."""
        secrets_listed = asyncio.Event()
        nodes_listed = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                # The first list can fail for as long as a certificate or a right is missing.
                group.create_task(self._problems.run())
                group.create_task(credentials.follow(self._kube))
                group.create_task(self._follow_leases())
                group.create_task(self._follow_nodes(nodes_listed))
                group.create_task(self._follow_secrets(secrets_listed))
                # A Pod without a Secret or a node is an exception, so both must be known first.
                await secrets_listed.wait()
                await nodes_listed.wait()
                group.create_task(self._follow_pods())
                group.create_task(self._tick())
        finally:
            await self._ends_in_queue.close()
            await self._removals.close()
            await self._tasks.close()

    async def submit(self, accepted: AcceptedJob) -> job_pb2.Job:
        """Store a job durably and return it with status QUEUED. The table has it then."""
        with self._errors(accepted.request):
            found = await self._submission.submit(accepted)
            if isinstance(found, job_pb2.Job):
                return found
            live = self._state.learn(found)
            return live.job if live else await self._archived(found)

    async def knows(self, owner: str, request_id: str) -> bool:
        """Return whether an owner has a job of a request."""
        with self._errors():
            return await self._submission.knows(owner, request_id)

    async def find(self, job_id: str) -> LiveJob | None:
        """Ask the cluster for a job that the table does not have yet."""
        with self._errors():
            if pod := await self._current(job_id):
                return self._state.learn(pod)
        return None

    async def cancel(self, job_id: str, subject: str, grace_period: float | None = None) -> bool:
        """See Engine."""
        with self._errors():
            while pod := await self._current(job_id):
                if pod.record:
                    self._state.learn(pod)
                    return False
                # Another attempt can have taken the place of the Pod.
                if marked := await self._attempts.annotate(pod, pod.stop_notes(subject, grace_period)):
                    await self._attempts.delete(marked)
                    return True
        raise JobNotFound(job_id)

    async def end(self, live: LiveJob, record: job_pb2.Job, subject: str) -> job_pb2.Job | None:
        """See Engine."""
        pod = self._state.pods.get(record.id)
        if pod is None or (pod.uid, pod.attempt) != (live.attempt_uid, record.attempt):
            return None
        with self._errors():
            if pod.initial.retry_on_lost:
                # No attempt follows a stopped one. This fails if another attempt has begun.
                pod = await self._attempts.annotate(pod, pod.stop_notes(subject, None))
            if pod is None:
                return None
            ended = await self._finalizer.end(pod if pod.final else replace(pod, record=record))
        # The client does not wait until the job has left the cluster, which may not answer.
        if ended:
            self._removals.schedule(record.id)
        return ended

    async def update(self, job: job_pb2.Job) -> None:
        """Replace the record of a running job, after its node has changed the limits."""
        with self._errors():
            pod = await self._attempts.pod(job.id)
            if pod is None or pod.attempt != job.attempt:  # the next attempt has the limits of the request
                raise JobNotFound(job.id)
            initial = records.encode(records.with_limits(pod.initial, job))
            if changed := await self._attempts.annotate(pod, {names.JOB: initial}):
                self._state.learn(changed)

    async def _current(self, job_id: str) -> JobPod | None:
        """Return the Pod of a job; create it if a gateway was interrupted before it did so."""
        if pod := await self._attempts.pod(job_id):
            return pod
        secret = await self._attempts.secret(job_id)
        if secret is None:
            return None
        found = await self._attempts.resume(secret, self._state.vanished.get(job_id))
        return found if isinstance(found, JobPod) else None

    async def _archived(self, pod: JobPod) -> job_pb2.Job:
        """Return a job that has ended since its Pod was created."""
        return await self._attempts.archive.find(pod.job_id) or pod.initial

    def _changed(self, job_id: str) -> None:
        if pod := self._state.pods.get(job_id):
            self._missing_pods.pop(job_id, None)
            self._timeouts.see(pod)
        if self._finalizer.is_needed(job_id):
            self._tasks.schedule(job_id)

    def _later(self, job_id: str, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._again, job_id)

    def _again(self, job_id: str) -> None:
        if job_id in self._state.pods:
            self._tasks.schedule(job_id)

    async def _follow_leases(self) -> None:
        async for event in self._leases_seen.events():
            match event:
                case Listed(items=items):
                    self._nodes.replace_leases(items)
                case Changed(item=item):
                    self._nodes.put_lease(item)
                case Deleted(item=item):
                    self._nodes.remove_lease(item["metadata"]["name"])

    async def _follow_nodes(self, listed: asyncio.Event) -> None:
        async for event in self._nodes_seen.events():
            match event:
                case Listed(items=items):
                    self._nodes.replace(items)
                    listed.set()
                case Changed(item=item):
                    self._nodes.put(item)
                case Deleted(item=item):
                    self._nodes.remove(item["metadata"]["name"])

    async def _follow_secrets(self, listed: asyncio.Event) -> None:
        async for event in self._secrets_seen.events():
            match event:
                case Listed(items=items):
                    self._miss_pods(*self._state.list_secrets(items))
                    listed.set()
                case Changed(item=item):
                    self._miss_pods(self._state.change_secret(item))
                case Deleted(item=item):
                    self._state.delete_secret(item)

    async def _follow_pods(self) -> None:
        async for event in self._pods_seen.events():
            match event:
                case Listed(items=items, resource_version=version):
                    self._state.list_pods(items, version)
                    self._complete = True
                case Changed(item=item, resource_version=version):
                    self._state.change_pod(item, version)
                case Deleted(item=item, resource_version=version):
                    self._state.delete_pod(item, version)
                case Current(resource_version=version):
                    self._state.advance(version)

    def _miss_pods(self, *job_ids: str) -> None:
        for job_id in filter(None, job_ids):
            self._missing_pods.setdefault(job_id, time.monotonic() + _MISSING_POD_SECONDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            for job_id in self._timeouts.due():
                self._ends_in_queue.schedule(job_id)
            for job_id in tuple(self._finalizer.doomed):
                pod = self._state.pods.get(job_id)
                if pod is None or self._nodes.suspects(pod.node):
                    self._tasks.schedule(job_id)
            # Before all Pods are listed, each job seems to have none.
            now = time.monotonic() if self._complete else 0.0
            for job_id in [each for each, due in self._missing_pods.items() if due <= now]:
                del self._missing_pods[job_id]
                if job_id in self._state.secrets and job_id not in self._state.pods:
                    self._tasks.schedule(job_id)

    async def _time_out(self, job_id: str) -> None:
        """Mark a job that was in the queue for too long. `decide` then lets it be deleted."""
        pod = self._state.pods.get(job_id)
        if pod is None or not is_limited(pod):
            return
        if not await self._attempts.annotate(pod, {names.QUEUE_TIMED_OUT: "true"}, unchanged=True):
            # It has changed in the meantime, and may still be in the queue.
            self._timeouts.see(pod)
