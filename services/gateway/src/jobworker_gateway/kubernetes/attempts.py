"""Creates and releases the Pods of jobs. Every step can be repeated, and done by several gateways at once."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from jobworker.v1 import job_pb2
from jobworker_cluster import job_secrets, names, pods, records
from jobworker_cluster.job_secrets import DamagedSecret, InvalidSecret, JobSecret
from jobworker_cluster.kube import Delete, Json, Kube
from jobworker_cluster.kube_errors import Conflict, Gone, NotFound
from jobworker_cluster.pods import DamagedPod, JobPod, PodPlan
from jobworker_cluster.resources import Selection, secrets
from jobworker_cluster.resources import pods as pods_of
from jobworker_gateway.engine import Archive, ArchivedJob
from jobworker_gateway.kubernetes import final_records, time_now
from jobworker_gateway.kubernetes.priorities import Priorities
from jobworkerd.errors import ClusterRefused

_CREATE_SECONDS = 60
"""Time in which a gateway creates the first Pod of a job. Afterwards, a Pod that is missing was removed."""

_HISTORY_SECONDS = 1
"""Duration of a watch that reads past changes: the shortest one that the apiserver accepts."""

DEFAULT_QUEUE = "default"


@dataclass(frozen=True)
class Attempts:
    """The Pods of one namespace. `gateway` identifies this process."""

    kube: Kube
    namespace: str
    archive: Archive
    priorities: Priorities
    queues: Mapping[str, Mapping[str, str]]
    gateway: str

    async def pod(self, job_id: str) -> JobPod | None:
        """Return the Pod of a job; None if it has none that can be read."""
        found = await self._examine(job_id)
        return found if isinstance(found, JobPod) else None

    async def secret(self, job_id: str) -> JobSecret | DamagedSecret | None:
        """Return the Secret of a job; None if it has none, because the job is in the archive or unknown."""
        selection = Selection(secrets(self.namespace), labels=f"{names.JOB_ID}={job_id}")
        return next(map(job_secrets.examine, (await self.kube.list(selection)).items), None)

    async def request_hash(self, pod: JobPod) -> str:
        """Return the hash of the request in the Secret of a Pod; empty if the Secret is gone."""
        try:
            secret = job_secrets.read(await self.kube.get(secrets(self.namespace), pod.secret))
        except (NotFound, InvalidSecret):
            return ""
        return secret.request_hash if secret.uid == pod.secret_uid else ""

    async def create(self, secret: JobSecret) -> JobPod:
        """Create the next Pod of a job, and return it or the one that another gateway created.

        Raises:
            Conflict: the Pod of another gateway has disappeared at once.
        """
        body = pods.build(await self._plan(secret))
        try:
            return pods.read(await self.kube.create(pods_of(self.namespace), body))
        except Conflict:
            if found := await self.pod(secret.job.id):
                return found
            raise

    async def resume(
        self, secret: JobSecret | DamagedSecret, last: JobPod | None = None
    ) -> JobPod | job_pb2.Job | None:
        """Continue a job that has a Secret and, as far as this gateway knows, no Pod.

        Return the Pod, or the final job; None if a client has deleted the final job.

        A gateway was interrupted after the Secret was stored, after an attempt was released, or after the
        job was archived. Otherwise the Pod was removed by hand, and its command may have run: `last` is the
        attempt that this gateway has seen. A job also ends if its Secret or its Pod cannot be read any more.
        """
        job_id = secret.job.id
        if archived := await self._archived(secret):
            await self._clear(secret)
            return archived
        if await self.archive.is_deleted(job_id):
            await self._clear(secret)
            return None
        # A gateway that has just started can list the Secrets long before the Pods.
        pod = await self._examine(job_id)
        if isinstance(pod, JobPod):
            return pod
        if pod or isinstance(secret, DamagedSecret):
            return await self._end_damaged(secret, pod, last)
        if await self._is_removed(secret, last):
            return await self._end_removed(secret, last)
        return await self._create_unless_over(secret)

    async def _end_damaged(
        self, secret: JobSecret | DamagedSecret, pod: DamagedPod | None, last: JobPod | None
    ) -> job_pb2.Job:
        """End a job of which an object was changed by hand. Its host stops it when the Pod is gone."""
        why = "; ".join(each.why for each in (pod, secret) if isinstance(each, DamagedPod | DamagedSecret))
        _warn(secret.job.id, why)
        known = final_records.of_attempt(last) if last else secret.job
        if pod and pod.record:
            known = records.merge(known, pod.record)
        return await self._end(secret, known, final_records.damaged(known, why, time_now.timestamp()))

    async def _end_removed(self, secret: JobSecret, last: JobPod | None) -> JobPod | job_pb2.Job | None:
        # Another gateway can have released the attempt, to start the next one, since the Secret was read.
        fresh = await self.secret(secret.job.id)
        if isinstance(fresh, JobSecret) and fresh.next_attempt > secret.next_attempt:
            return await self.resume(fresh, last)
        known = final_records.of_attempt(last) if last else secret.job
        return await self._end(secret, known, final_records.removed(known, time_now.timestamp()))

    async def _end(
        self, secret: JobSecret | DamagedSecret, known: job_pb2.Job, lost: job_pb2.Job
    ) -> job_pb2.Job:
        # A result that the node has reported is true, whatever happened to the Pod later.
        final = known if records.is_final(known) else lost
        request_hash = secret.request_hash if secret.request_key else ""
        archived = await self.archive.add(ArchivedJob(final, secret.request_key, request_hash))
        await self._clear(secret)
        return archived

    async def _clear(self, secret: JobSecret | DamagedSecret) -> None:
        """Remove the Secret of an archived job, and before it a Pod that cannot be read."""
        pod = await self._examine(secret.job.id)
        if isinstance(pod, DamagedPod):
            await self.release(pod)
        await self.delete_secret(secret.name, secret.uid)

    async def _create_unless_over(self, secret: JobSecret) -> JobPod | job_pb2.Job | None:
        pod = await self.create(secret)
        # Another gateway can have archived the job since the Secret was read, and a client deleted it.
        archived = await self.archive.find(secret.job.id)
        if archived or await self.archive.is_deleted(secret.job.id):
            await self.release(pod)
            return archived
        return pod

    async def advance(self, pod: JobPod) -> JobSecret | None:
        """Note in the Secret that an attempt is over. None: the job has no Secret that can be read.

        Raises:
            Conflict: another gateway has changed the Secret.
        """
        resource = secrets(self.namespace)
        try:
            secret = job_secrets.read(await self.kube.get(resource, pod.secret))
            if secret.job.id != pod.job_id:  # a later job of the same request has the name now
                return None
            if secret.next_attempt > pod.attempt:
                return secret
            annotations = {names.ATTEMPT: str(pod.attempt + 1)}
            metadata = {"resourceVersion": str(secret.version), "annotations": annotations}
            return job_secrets.read(await self.kube.patch(resource, secret.name, {"metadata": metadata}))
        except NotFound:
            return None
        except InvalidSecret as error:
            _warn(pod.job_id, str(error))
            return None

    async def release(self, pod: JobPod | DamagedPod, *, unchanged: bool = False) -> None:
        """Remove the finalizer of a Pod and delete it. With `unchanged`, only if it has not changed.

        Raises:
            Conflict: the Pod has changed, with `unchanged`.
        """
        resource, version = pods_of(self.namespace), pod.version
        metadata: Json = {"uid": pod.uid, "$deleteFromPrimitiveList/finalizers": [names.RECORD]}
        if unchanged:
            metadata["resourceVersion"] = str(version)
        try:
            if pod.held:
                patch = {"metadata": metadata}
                found = await self.kube.patch(resource, pod.name, patch, kind="strategic")
                version = int(found["metadata"]["resourceVersion"])
            # A result that the agent reports now, or a stop, must not disappear with the Pod.
            how = Delete(pod.uid, version if unchanged else 0, grace_seconds=0)
            await self.kube.delete(resource, pod.name, how)
        except NotFound:
            pass
        except Conflict:
            if unchanged:
                raise

    async def delete(self, pod: JobPod) -> None:
        """Let the cluster delete a Pod. Its agent or a gateway then reports the end of the job.

        Raises:
            Conflict: the Pod has changed, for example because it has a node now, and no client stopped it.
        """
        how = Delete(pod.uid) if pod.stopped_by else Delete(pod.uid, pod.version)
        with contextlib.suppress(NotFound):
            await self.kube.delete(pods_of(self.namespace), pod.name, how)

    async def annotate(
        self, pod: JobPod, annotations: Mapping[str, str], *, unchanged: bool = False
    ) -> JobPod | None:
        """Set annotations of a Pod and return it; None if the Pod does not exist any more.

        With `unchanged`, None also if the Pod has changed.
        """
        metadata: Json = {"uid": pod.uid, "annotations": dict(annotations)}
        if unchanged:
            metadata["resourceVersion"] = str(pod.version)
        try:
            found = await self.kube.patch(pods_of(self.namespace), pod.name, {"metadata": metadata})
        except (NotFound, Conflict):
            return None
        changed = pods.examine(found)
        return changed if isinstance(changed, JobPod) else None

    async def delete_secret(self, name: str, uid: str) -> None:
        """Delete the Secret of an archived job, but not another one that has its name since."""
        with contextlib.suppress(NotFound, Conflict):
            await self.kube.delete(secrets(self.namespace), name, Delete(uid))

    async def _examine(self, job_id: str) -> JobPod | DamagedPod | None:
        try:
            return pods.examine(await self.kube.get(pods_of(self.namespace), names.pod_name(job_id)))
        except NotFound:
            return None

    async def _archived(self, secret: JobSecret | DamagedSecret) -> job_pb2.Job | None:
        """Return the final job of a Secret, or an earlier one of the same request.

        The earlier job became final just before the Secret was stored, and the gateway was interrupted before
        it saw that. The command must not run again.
        """
        if found := await self.archive.find(secret.job.id):
            return found
        key = secret.request_key
        earlier = await self.archive.find_request(key) if key else None
        return earlier.job if earlier else None

    async def _is_removed(self, secret: JobSecret, last: JobPod | None) -> bool:
        """Return whether the current attempt has had a Pod, so that its command may have run."""
        if last and secret.next_attempt <= last.attempt:
            return True
        if secret.next_attempt > 1:
            return False
        return self._age(secret) > _CREATE_SECONDS or await self._was_deleted(secret)

    async def _was_deleted(self, secret: JobSecret) -> bool:
        """Return whether a Pod of the job was deleted since its Secret was stored.

        The apiserver sends these changes at once. It remembers those of the last 75 s, unless it has started
        since (eventFreshDuration in k8s.io/apiserver).
        """
        selection = Selection(pods_of(self.namespace), labels=f"{names.JOB_ID}={secret.job.id}")
        changes = self.kube.watch(selection, str(secret.version), _HISTORY_SECONDS)
        async with contextlib.aclosing(changes):
            with contextlib.suppress(Gone):
                async for kind, _ in changes:
                    if kind == "DELETED":
                        return True
        return False

    def _age(self, secret: JobSecret) -> float:
        return (self.kube.time() - datetime.fromisoformat(secret.create_time)).total_seconds()

    async def _plan(self, secret: JobSecret) -> PodPlan:
        queue = secret.job.queue or DEFAULT_QUEUE
        if queue not in self.queues and queue != DEFAULT_QUEUE:
            raise ClusterRefused(
                f"queue {queue} is not in the configuration of this gateway", "an administrator has to add it"
            )
        return PodPlan(
            secret=secret,
            attempt=secret.next_attempt,
            gateway=self.gateway,
            priority_class=await self.priorities.class_for(secret.job.priority),
            node_selector=self.queues.get(queue, {}),
        )


def _warn(job_id: str, why: str) -> None:
    structlog.get_logger().warning("job damaged", job_id=job_id, reason=why)
