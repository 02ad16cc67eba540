"""Stops, changes and deletes jobs: at their nodes while they run, and in the cluster otherwise."""

import contextlib
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from jobworker.v1 import job_pb2, job_service_pb2
from jobworker_cluster import records
from jobworker_gateway.change_feed import ChangeFeed
from jobworker_gateway.engine import check_complete
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.jobs import Jobs
from jobworker_gateway.missing_output import has_log
from jobworker_gateway.node_connections import NodeConnections
from jobworker_gateway.node_errors import NodeError, forgotten
from jobworkerd.errors import (
    ClusterRefused,
    ClusterUnavailable,
    JobNotFinal,
    JobNotFound,
    JobNotRunning,
    LimitUnavailable,
    NodeUnreachable,
)
from jobworkerd.rpc_server.convert import STATUSES

_SERVICE = "/jobworker.v1.JobService"

_USAGE_SECONDS = 2.0
"""Time for a node to answer with the usage of a job. After it, the client gets the job without usage."""

_RECORD_SECONDS = 2.0
"""Time between the end of a job on its node and its record in the archive."""

_USAGE_BYTES = 8 * 1024
"""Size that the usage adds to a record at most. Without a bound, the host of one job could make lists of all
jobs larger than a response can be.
"""

_DELETE_SECONDS = 10.0

_UPDATE_SECONDS = 30.0
"""For a lower limit of the memory, the kernel can have to reclaim memory first."""


_Response: TypeAlias = (
    type[job_service_pb2.GetJobResponse]
    | type[job_service_pb2.StopJobResponse]
    | type[job_service_pb2.UpdateJobResponse]
)


class JobControl:
    """The calls for one job."""

    def __init__(self, jobs: Jobs, nodes: NodeConnections, feed: ChangeFeed) -> None:
        self._jobs = jobs
        self._nodes = nodes
        self._feed = feed

    async def current(self, live: LiveJob, subject: str) -> job_pb2.Job:
        """Return a job, with its current usage if it runs and its node answers."""
        if live.job.status != job_pb2.JOB_STATUS_RUNNING:
            return self._jobs.shown(live)
        request = job_service_pb2.GetJobRequest(id=live.job.id)
        try:
            answer = await self._call("GetJob", request, live, subject, _USAGE_SECONDS)
            job = _answered(job_service_pb2.GetJobResponse, answer, live)
        except (NodeError, NodeUnreachable):
            return live.job
        if job.status == job_pb2.JOB_STATUS_RUNNING:
            return job if job.ByteSize() <= live.job.ByteSize() + _USAGE_BYTES else live.job
        # It has just ended. Only the record of the cluster is final.
        return await self._jobs.ended_within(live.job.id, _RECORD_SECONDS) or live.job

    async def stop(
        self, request: job_service_pb2.StopJobRequest, subject: str, seconds: float | None
    ) -> job_pb2.Job:
        """Stop a job, and return it with its final status. The node has `seconds` to answer.

        A running job needs only its node and the archive for that, not the control plane of the cluster,
        except with `retry_on_lost`: another attempt could have begun. If the node was lost before the cluster
        has its record, the job would be LOST. So the gateway archives the record of a node that is late.

        Raises:
            ClusterUnavailable: the archive does not answer, or the job does not run yet or has
                `retry_on_lost`, and the cluster does not answer.
            JobNotFound: no job has this id.
            NodeError: the node refuses the call.
            NodeUnreachable: the node does not answer.
        """
        live = await self._jobs.get(request.id)
        grace = request.grace_period.ToNanoseconds() / 1e9 if request.HasField("grace_period") else None
        while not live.final:
            if live.job.status == job_pb2.JOB_STATUS_RUNNING:
                answer = await self._change("StopJob", request, live, subject, seconds)
                stopped = _answered(job_service_pb2.StopJobResponse, answer, live)
                if ended := await self._jobs.ended_within(request.id, _RECORD_SECONDS):
                    return ended
                if ended := await self._jobs.engine.end(live, stopped, subject):
                    return ended
            else:
                # The cluster does not have a job that has ended and was archived since the last look.
                with contextlib.suppress(JobNotFound):
                    if await self._jobs.engine.cancel(request.id, subject, grace):
                        return await self._jobs.ended(request.id)
            live = await self._jobs.changed(live)
        return live.job

    async def update(self, request: job_service_pb2.UpdateJobRequest, subject: str) -> job_pb2.Job:
        """Change limits of a running job. The request has no limit that is set to a default.

        Raises:
            ClusterUnavailable: the job does not run yet, and the cluster does not answer.
            JobNotFound: no job has this id.
            JobNotRunning: the job does not run.
            LimitUnavailable: the job would need more than the cluster has reserved for it.
            NodeError: the node refuses the call.
            NodeUnreachable: the node does not answer.
        """
        live = await self._jobs.get(request.id)
        if live.job.status != job_pb2.JOB_STATUS_RUNNING:
            live = await self._jobs.confirmed(live)
        if live.job.status != job_pb2.JOB_STATUS_RUNNING:
            raise JobNotRunning(request.id, STATUSES[live.job.status].value)
        for name, unit, reserved in zip(("max_cpu", "max_memory"), ("%", " MiB"), live.reserved, strict=True):
            if (wanted := getattr(request, name)) > reserved:
                why = (
                    f"{wanted}{unit} is more than the {reserved}{unit} that the cluster has reserved "
                    "for the job; use less, or create another job"
                )
                raise LimitUnavailable(name, why)
        answer = await self._change("UpdateJob", request, live, subject, _UPDATE_SECONDS)
        updated = _answered(job_service_pb2.UpdateJobResponse, answer, live)
        # The final record has the limits of the node in any case.
        with contextlib.suppress(ClusterUnavailable, ClusterRefused, JobNotFound):
            await self._jobs.engine.update(updated)
        return updated

    async def delete(self, job_id: str, subject: str) -> None:
        """Delete the output and the record of a final job.

        The output of a lost job can stay on its node, which removes it by its own retention settings.

        Raises:
            ClusterUnavailable: the archive does not answer, or this gateway does not know the nodes yet.
            JobNotFinal: the job has not ended.
            JobNotFound: no job has this id.
            NodeError: the node refuses the call.
            NodeUnreachable: the node does not answer, so that the output cannot be deleted.
        """
        live = await self._jobs.get(job_id)
        if not live.final:
            raise JobNotFinal(job_id, STATUSES[live.job.status].value)
        if has_log(live.job):
            await self._delete_output(live, subject)
        if not await self._jobs.archive.delete(job_id):
            raise JobNotFound(job_id)
        self._feed.removed(live.job)

    async def _delete_output(self, live: LiveJob, subject: str) -> None:
        if live.job.node not in self._jobs.engine.nodes:
            check_complete(self._jobs.engine)
            return
        request = job_service_pb2.DeleteJobRequest(id=live.job.id)
        is_lost = live.job.status == job_pb2.JOB_STATUS_LOST
        try:
            await self._call("DeleteJob", request, live, subject, _DELETE_SECONDS)
        except NodeError as error:
            if not (is_lost or error.status.code is grpc.StatusCode.NOT_FOUND):
                raise
        except NodeUnreachable:
            if not is_lost:
                raise

    async def _change(
        self, method: str, request: Message, live: LiveJob, subject: str, seconds: float | None
    ) -> bytes:
        """Call the node of a job that the cluster has, although the node can have lost it."""
        try:
            return await self._call(method, request, live, subject, seconds)
        except NodeError as error:
            raise forgotten(error, live.job.node) from error

    async def _call(
        self, method: str, request: Message, live: LiveJob, subject: str, seconds: float | None
    ) -> bytes:
        async with self._nodes.open(self._jobs.node(live)) as node:
            return await node.unary(f"{_SERVICE}/{method}", request, subject, seconds)


def _answered(kind: _Response, answer: bytes, live: LiveJob) -> job_pb2.Job:
    """Return the job in the answer of a node, which an attacker can control.

    Raises:
        NodeUnreachable: it is another job, or not one that clients can read.
    """
    try:
        job = kind.FromString(answer).job
        records.check(job)
    except (DecodeError, records.InvalidRecord) as error:
        raise NodeUnreachable(live.job.node, f"its answer is invalid: {error}") from error
    if job.id != live.job.id:
        raise NodeUnreachable(live.job.node, "it answered for another job")
    return job
