"""Calls to the server of this host."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration

from jobworker.v1 import job_pb2, job_service_pb2, node_service_pb2
from jobworker_agent.host_address import HostAddress
from jobworker_agent.host_connections import HostConnection, HostConnections
from jobworker_agent.host_errors import HostUnavailable, JobUnknown, from_rpc
from jobworker_cluster.trace_headers import TraceHeaders

CALL_SECONDS = 10.0
START_SECONDS = 60.0
"""Deadline of RunJob. A start on a busy host takes seconds. A retry finds the job that a call started."""

WAIT_SECONDS = 60
"""Length of one WaitJob. A connection has room for 1,024 calls, so no call may keep its place for long."""

STOP_SECONDS = 90_000.0
"""Deadline of a stop: more than the longest grace period, one day."""

LEASE_SECONDS = 2.0
"""Deadline of RenewLease. The call of a later renewal must not wait behind this one."""

_REFUSED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,  # in the TLS handshake
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,  # the certificate is revoked, or has another role
    }
)
"""The codes of calls that can succeed with a new certificate."""

_SUBJECT = "jobworker-subject-bin"

T = TypeVar("T")


class Host(Protocol):
    """The server of this host. Each method raises HostUnavailable if the same call can succeed later."""

    async def describe(self) -> node_service_pb2.GetHostResponse:
        """Return the resources of the host."""

    async def run(self, request: node_service_pb2.RunJobRequest, trace: TraceHeaders) -> job_pb2.Job:
        """Start a job, or return the one that an earlier call with the same id and request id started.

        Raises:
            OtherAttempt: the host has another attempt of the job.
            RunRefused: the job cannot run on this host.
        """

    async def find(self, job_id: str, owner: str) -> job_pb2.Job | None:
        """Return a job as its owner; None if the host does not have it."""

    async def wait(self, job_id: str, owner: str) -> job_pb2.Job:
        """Return a job when it has ended, or after a minute.

        Raises:
            JobUnknown: the host does not have it.
        """

    async def stop(self, job_id: str, subject: str, grace_period: float | None) -> job_pb2.Job:
        """Stop a job for a client, and return it when it has ended.

        Without `grace_period`, in seconds, the job has its own.

        Raises:
            JobUnknown: the host does not have it.
        """

    async def evict(self, job_id: str, message: str) -> job_pb2.Job:
        """Stop a job for the cluster, and return it when it has ended.

        Raises:
            JobUnknown: the host does not have it.
        """

    async def delete(self, job_id: str, owner: str) -> None:
        """Delete the record of a job that has ended. A job that the host does not have is not an error."""

    async def runs(self) -> Sequence[node_service_pb2.Run]:
        """Return the jobs of the cluster that are not final."""

    async def renew_lease(self, seconds: float, not_after: float) -> None:
        """Let the jobs that end with the lease run for a time from now, but not after a boot time."""


class GrpcHost:
    """The server of this host, over gRPC. A certificate that was replaced is used without a restart."""

    def __init__(self, address: HostAddress) -> None:
        """Read the certificate. The first call connects.

        Raises:
            OSError: a file cannot be read.
        """
        self.connections = HostConnections(address)

    @property
    def _connection(self) -> HostConnection:
        return self.connections.current

    async def close(self) -> None:
        """Close the connections."""
        await self.connections.close()

    async def describe(self) -> node_service_pb2.GetHostResponse:
        """See Host."""
        call = self._connection.node.GetHost(node_service_pb2.GetHostRequest(), timeout=CALL_SECONDS)
        return await self._answer(call)

    async def run(self, request: node_service_pb2.RunJobRequest, trace: TraceHeaders) -> job_pb2.Job:
        """See Host."""
        call = self._connection.node.RunJob(request, timeout=START_SECONDS, metadata=trace.metadata)
        return (await self._answer(call)).job

    async def find(self, job_id: str, owner: str) -> job_pb2.Job | None:
        """See Host."""
        request = job_service_pb2.GetJobRequest(id=job_id)
        call = self._connection.jobs.GetJob(request, timeout=CALL_SECONDS, metadata=_for_subject(owner))
        try:
            return (await self._answer(call)).job
        except JobUnknown:
            return None

    async def wait(self, job_id: str, owner: str) -> job_pb2.Job:
        """See Host."""
        request = job_service_pb2.WaitJobRequest(id=job_id, timeout=Duration(seconds=WAIT_SECONDS))
        call = self._connection.waiting_jobs.WaitJob(
            request, timeout=WAIT_SECONDS + CALL_SECONDS, metadata=_for_subject(owner)
        )
        return (await self._answer(call)).job

    async def stop(self, job_id: str, subject: str, grace_period: float | None) -> job_pb2.Job:
        """See Host."""
        grace = None if grace_period is None else _duration(grace_period)
        request = job_service_pb2.StopJobRequest(id=job_id, grace_period=grace)
        call = self._connection.waiting_jobs.StopJob(
            request, timeout=STOP_SECONDS, metadata=_for_subject(subject)
        )
        return (await self._answer(call)).job

    async def evict(self, job_id: str, message: str) -> job_pb2.Job:
        """See Host."""
        request = node_service_pb2.EvictJobRequest(id=job_id, message=message)
        call = self._connection.waiting_node.EvictJob(request, timeout=STOP_SECONDS)
        return (await self._answer(call)).job

    async def delete(self, job_id: str, owner: str) -> None:
        """See Host."""
        request = job_service_pb2.DeleteJobRequest(id=job_id)
        call = self._connection.jobs.DeleteJob(request, timeout=CALL_SECONDS, metadata=_for_subject(owner))
        try:
            await self._answer(call)
        except JobUnknown:
            return

    async def runs(self) -> Sequence[node_service_pb2.Run]:
        """See Host."""
        call = self._connection.node.ListRuns(node_service_pb2.ListRunsRequest(), timeout=CALL_SECONDS)
        return (await self._answer(call)).runs

    async def renew_lease(self, seconds: float, not_after: float) -> None:
        """See Host."""
        request = node_service_pb2.RenewLeaseRequest(
            duration=_duration(seconds), not_after=_duration(not_after)
        )
        await self._answer(self._connection.node.RenewLease(request, timeout=LEASE_SECONDS))

    async def _answer(self, call: Awaitable[T]) -> T:
        try:
            return await call
        except grpc.RpcError as error:
            if error.code() in _REFUSED:
                await self.connections.replace()
            raise from_rpc(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Another call has closed the connection to use a new certificate.
            raise HostUnavailable("CANCELLED", "the connection was closed") from None


def _for_subject(subject: str) -> tuple[tuple[str, bytes], ...]:
    """Return the metadata of a call for a client of the cluster."""
    return ((_SUBJECT, subject.encode()),)


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(int(seconds * 1e9))
    return duration
