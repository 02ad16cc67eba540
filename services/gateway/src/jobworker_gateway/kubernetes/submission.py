"""Accepts jobs: first the Secret, then the Pod."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobworker.v1 import job_pb2
from jobworker_cluster import job_secrets, names
from jobworker_cluster.job_secrets import DamagedSecret, InvalidSecret, JobSecret
from jobworker_cluster.kube_errors import Conflict, KubeError, NotFound, Unreachable
from jobworker_cluster.pods import JobPod
from jobworker_cluster.resources import secrets
from jobworker_gateway import node_trace
from jobworker_gateway.engine import AcceptedJob
from jobworker_gateway.kubernetes.attempts import DEFAULT_QUEUE, Attempts
from jobworkerd.errors import ClusterRefused, ClusterUnavailable, InvalidRequest, RequestIdReused

_TRIALS = 5

_WITHDRAW_SECONDS = 2.0
"""Time in which a job can be withdrawn. After 3 s, another gateway creates the Pod, and the job may run."""


@dataclass(frozen=True)
class Submission:
    """Stores jobs in the cluster."""

    attempts: Attempts
    clock: Callable[[], float] = time.monotonic

    async def submit(self, accepted: AcceptedJob) -> JobPod | job_pb2.Job:
        """Return the Pod of a new job, or what an earlier request with the same request id has become.

        Raises:
            InvalidRequest: the cluster cannot run the job.
            RequestIdReused: the earlier request was a different one.
            KubeError, ClusterUnavailable, ClusterRefused: the cluster does not answer, or refuses it.
        """
        self._check_queue(accepted.job)
        key = names.request_key(accepted.job.owner, accepted.request.request_id)
        for _ in range(_TRIALS):
            if archived := await self._archived(accepted, key):
                return archived
            began = self.clock()
            try:
                return await self._start(accepted, key, await self._store(accepted, key), began)
            except Conflict:
                earlier = await self._earlier(accepted, key)
                if earlier and (found := await self.attempts.resume(earlier)):
                    return found
        raise ClusterUnavailable("another request with the same request_id is in progress")

    async def knows(self, owner: str, request_id: str) -> bool:
        """Return whether an owner has a job of a request.

        Raises:
            KubeError, ClusterUnavailable: the cluster does not answer.
        """
        key = names.request_key(owner, request_id)
        # A job that ends in between is in the archive before its Secret is deleted.
        if await self._current(names.secret_name("", key)):
            return True
        return await self.attempts.archive.find_request(key) is not None

    def _check_queue(self, job: job_pb2.Job) -> None:
        queues = self.attempts.queues
        queue = job.queue or DEFAULT_QUEUE
        if queue not in queues and queue != DEFAULT_QUEUE:
            known = ", ".join(sorted({DEFAULT_QUEUE, *queues}))
            raise InvalidRequest({"queue": f"{queue!r} does not exist; use one of {known}"})
        for label, value in queues.get(queue, {}).items():
            if job.node_selector.get(label, value) != value:
                raise InvalidRequest(
                    {"node_selector": f"{label} is {value!r} on the nodes of queue {queue}; leave it unset"}
                )

    async def _archived(self, accepted: AcceptedJob, key: str) -> job_pb2.Job | None:
        earlier = await self.attempts.archive.find_request(key) if key else None
        if earlier is None:
            return None
        _check_same(accepted, earlier.job.id, earlier.request_hash)
        return earlier.job

    async def _store(self, accepted: AcceptedJob, key: str) -> JobSecret:
        """Create the Secret.

        Raises:
            Conflict: the request id has one already.
        """
        name = names.secret_name(accepted.job.id, key)
        trace = node_trace.headers(accepted.trace)
        body = job_secrets.build(name, accepted.job, accepted.request, accepted.request_hash, trace)
        return job_secrets.read(await self.attempts.kube.create(secrets(self.attempts.namespace), body))

    async def _start(
        self, accepted: AcceptedJob, key: str, secret: JobSecret, began: float
    ) -> JobPod | job_pb2.Job:
        # The earlier job can have become final between the look into the archive and the new Secret.
        try:
            if archived := await self._archived(accepted, key):
                await self.attempts.delete_secret(secret.name, secret.uid)
                return archived
            return await self.attempts.create(secret)
        except (Conflict, Unreachable):
            raise  # the Pod may exist, so the job is accepted
        except RequestIdReused:
            await self.attempts.delete_secret(secret.name, secret.uid)
            raise
        except (KubeError, ClusterUnavailable, ClusterRefused):
            # Without its Secret, a job that another gateway has started would run again at a retry.
            if self.clock() - began < _WITHDRAW_SECONDS:
                await self.attempts.delete_secret(secret.name, secret.uid)
            raise

    async def _earlier(self, accepted: AcceptedJob, key: str) -> JobSecret | DamagedSecret | None:
        """Return the Secret of the earlier request; None if the archive has the job now, or had it."""
        earlier = await self._current(names.secret_name(accepted.job.id, key))
        if earlier:
            _check_same(accepted, earlier.job.id, earlier.request_hash)
        return earlier

    async def _current(self, name: str) -> JobSecret | DamagedSecret | None:
        """Return a Secret; None if it does not exist, or if a client has deleted its job.

        The Secret of a final job stays for a moment, in which a client can delete the job.

        Raises:
            ClusterRefused: the Secret was changed by hand, so that nothing tells which job it has.
        """
        try:
            found = job_secrets.examine(await self.attempts.kube.get(secrets(self.attempts.namespace), name))
        except NotFound:
            return None
        except InvalidSecret as error:
            raise ClusterRefused(str(error), "an administrator has to repair it") from error
        if await self.attempts.archive.is_deleted(found.job.id):
            await self.attempts.delete_secret(found.name, found.uid)
            return None
        return found


def _check_same(accepted: AcceptedJob, job_id: str, request_hash: str) -> None:
    if request_hash != accepted.request_hash:
        raise RequestIdReused(accepted.request.request_id, job_id)
