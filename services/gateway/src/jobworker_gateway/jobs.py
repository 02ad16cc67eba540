"""Finds jobs and follows them, wherever they are: in the table, in the archive or only in the cluster."""

import asyncio
from contextlib import suppress

from jobworker.v1 import job_pb2
from jobworker_gateway.archive.sql_archive import SqlArchive
from jobworker_gateway.engine import Engine
from jobworker_gateway.job_table import LiveJob
from jobworker_gateway.node_connections import Node
from jobworkerd.errors import ClusterRefused, ClusterUnavailable, JobNotFound, NodeUnreachable

_POLL_SECONDS = 0.1
"""Time between two looks at a job that the cluster has and the table does not have yet."""


class Jobs:
    """The jobs of the cluster, as one gateway sees them."""

    def __init__(self, engine: Engine, archive: SqlArchive) -> None:
        self.engine = engine
        self.archive = archive

    async def get(self, job_id: str) -> LiveJob:
        """Return a job.

        The archive comes first. It can have a job whose end this gateway has not seen yet. A client that has
        seen the end at another gateway must not see the job alive here.

        Raises:
            ClusterUnavailable: the job is not in the table, and the cluster or the archive does not answer.
            JobNotFound: no job has this id.
        """
        live = self.engine.jobs.get(job_id)
        try:
            if final := await self.archive.find(job_id):
                return LiveJob(final)
        except ClusterUnavailable:
            if live is None:
                raise
            return live
        # A final job that is not in the archive was deleted.
        live = self.engine.jobs.get(job_id)
        if live and not live.final:
            return live
        return await self._in_cluster(job_id)

    async def confirmed(self, live: LiveJob) -> LiveJob:
        """Return the current state of a job, from the cluster itself unless the job is final.

        Another gateway can have shown a client a newer state than this one has seen. Nothing that the client
        asks for may be refused because of that.

        Raises:
            ClusterUnavailable: the cluster or the archive does not answer.
            JobNotFound: the job was deleted.
        """
        return live if live.final else await self._in_cluster(live.job.id)

    async def changed(self, live: LiveJob) -> LiveJob:
        """Wait until a job has another state, and return it.

        Raises:
            ClusterUnavailable: the job has left the table, and the cluster or the archive does not answer.
            JobNotFound: the job was deleted.
        """
        if self.engine.jobs.get(live.job.id) is None:
            await asyncio.sleep(_POLL_SECONDS)
            return await self.get(live.job.id)
        return await self.engine.jobs.changed(live.job.id, live.revision) or await self.get(live.job.id)

    async def ended(self, job_id: str) -> job_pb2.Job:
        """Wait until a job is final, and return it.

        Raises:
            ClusterUnavailable: see `changed`.
            JobNotFound: no job has this id, or the job was deleted.
        """
        live = await self.get(job_id)
        while not live.final:
            live = await self.changed(live)
        return live.job

    async def end_of_attempt(self, live: LiveJob) -> LiveJob:
        """Wait until a job is final, or until another attempt has begun, and return its state then.

        Raises:
            ClusterUnavailable: see `changed`.
            JobNotFound: the job was deleted.
        """
        attempt = live.attempt_uid
        while not live.final and live.attempt_uid == attempt:
            live = await self.changed(live)
        return live

    async def ended_within(self, job_id: str, seconds: float) -> job_pb2.Job | None:
        """Wait until a job is final, and return it; None if that takes longer."""
        with suppress(TimeoutError, ClusterUnavailable, ClusterRefused):
            async with asyncio.timeout(seconds):
                return await self.ended(job_id)
        return None

    def shown(self, live: LiveJob) -> job_pb2.Job:
        """Return the message of a job, with its position if it is in the queue.

        The table can still have a final job in the queue, because another gateway has archived it.
        """
        if not live.final and (position := self.engine.jobs.queue_position(live.job.id)):
            job = job_pb2.Job()
            job.CopyFrom(live.job)
            job.queue_position = position
            return job
        return live.job

    def node(self, live: LiveJob) -> Node:
        """Return the node of a job.

        Raises:
            NodeUnreachable: the cluster does not know the node any more.
        """
        known = self.engine.nodes.get(live.job.node)
        address = (known.address if known else "") or live.address
        if not address:
            raise NodeUnreachable(live.job.node, "it is not in the cluster any more")
        return Node(live.job.node, address)

    def has_left(self, node: str) -> bool:
        """Return whether a node is not in the cluster, as far as this gateway knows all nodes."""
        engine = self.engine
        return engine.complete and not engine.problem and node not in engine.nodes

    async def _in_cluster(self, job_id: str) -> LiveJob:
        found = await self.engine.find(job_id)
        if found and not found.final:
            return found
        # The job can have been archived since the first look.
        if final := await self.archive.find(job_id):
            return LiveJob(final)
        raise JobNotFound(job_id)
