"""Starts an attempt on the host."""

from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError

from jobworker.v1 import job_pb2, job_service_pb2, node_service_pb2
from jobworker_agent import records_of_end
from jobworker_agent.cluster import AttemptOver, Cluster
from jobworker_agent.host import Host
from jobworker_agent.host_errors import HostUnavailable, JobUnknown, OtherAttempt, OutcomeUnknown, RunRefused
from jobworker_cluster.pods import JobPod
from jobworker_cluster.trace_headers import TraceHeaders


class LeaseState(Protocol):
    """The lease of the node, as a start sees it."""

    @property
    def held_since(self) -> float | None:
        """The boot time since which the cluster has always counted on this node; None if it does not."""


@dataclass(frozen=True)
class Starter:
    """Starts attempts on the host of a node."""

    node: str
    host: Host
    cluster: Cluster
    lease: LeaseState

    def require_lease(self) -> float:
        """Return the boot time since which the node has its lease.

        Raises:
            HostUnavailable: it has none. Another agent may be the node.
        """
        if (since := self.lease.held_since) is None:
            raise _no_lease()
        return since

    async def start(self, pod: JobPod) -> job_pb2.Job:
        """Return the started job, or its final record if it cannot start.

        Raises:
            HostUnavailable, ClusterUnavailable, SecretUnreadable: a later call can succeed.
        """
        try:
            return await self._start(pod)
        except OtherAttempt:
            return records_of_end.ran_before(pod)
        except AttemptOver:
            return records_of_end.given_up(pod)
        except DecodeError:
            why = f"the Secret {pod.secret} has no valid request"
        except OutcomeUnknown as error:
            # A record that says NOT_STARTED must be true.
            return await self.find(pod) or records_of_end.not_started(pod, str(error))
        except RunRefused as error:
            return records_of_end.not_started(pod, str(error), error.start_error)
        except JobUnknown as error:  # the id is not that of a job
            why = str(error)
        return records_of_end.not_started(pod, why)

    async def find(self, pod: JobPod) -> job_pb2.Job | None:
        """Return the job of an attempt; None if the host does not have it.

        Raises:
            HostError: the host does not answer.
        """
        job = await self.host.find(pod.job_id, pod.initial.owner)
        return job if job and job.attempt == pod.attempt else None

    async def _start(self, pod: JobPod) -> job_pb2.Job:
        """Start a job, in place of its earlier attempts.

        Raises:
            OtherAttempt: the host has run the job, which must not run again.
        """
        request, trace = await self._current_request(pod)
        try:
            return await self.host.run(request, trace)
        except OtherAttempt:
            if not request.fenced:
                raise
            await self._remove(request)
        # The end of an earlier attempt can take so long that the cluster has given up this one.
        request, trace = await self._current_request(pod)
        try:
            return await self.host.run(request, trace)
        except OtherAttempt as error:
            raise HostUnavailable(error.reason, str(error)) from error

    async def _current_request(self, pod: JobPod) -> tuple[node_service_pb2.RunJobRequest, TraceHeaders]:
        """Return the request of an attempt that the cluster has not given up.

        Raises:
            AttemptOver: the cluster has given it up.
            HostUnavailable: that is not known, because the lease has ended.
        """
        since = self.require_lease()
        spec = await self.cluster.read_spec(pod)
        # An answer from before the host was suspended can be out of date, also if the lease was renewed.
        if self.lease.held_since != since:
            raise _no_lease()
        return self._request(pod, spec.request), spec.trace

    def _request(self, pod: JobPod, spec: bytes) -> node_service_pb2.RunJobRequest:
        job = job_service_pb2.CreateJobRequest.FromString(spec)
        job.request_id = pod.uid
        return node_service_pb2.RunJobRequest(
            id=pod.job_id,
            owner=pod.initial.owner,
            node=self.node,
            attempt=pod.attempt,
            fenced=job.retry_on_lost,
            job=job,
        )

    async def _remove(self, request: node_service_pb2.RunJobRequest) -> None:
        """Remove an earlier attempt, which the cluster has given up, with its output."""
        try:
            await self.host.evict(request.id, records_of_end.ORPHANED)
            await self.host.delete(request.id, request.owner)
        except JobUnknown:
            return
        except RunRefused as error:  # not an error of this attempt
            raise HostUnavailable(error.reason, str(error)) from error


def _no_lease() -> HostUnavailable:
    return HostUnavailable("NO_LEASE", "the lease of the node has ended")
