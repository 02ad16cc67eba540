"""The part of the cluster that decides when and where jobs run, as the gateway's service sees it.

Kubernetes is the only implementation. The service does not know Pods, so that another one could follow.

A job passes three places. The engine stores it before CreateJob answers. The table has it while it is not
final, and for a short time after. The archive has it as soon as it is final: a status is final only if it
is in the archive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from jobworker.v1 import cluster_service_pb2, job_pb2, job_service_pb2
from jobworker_cluster.client_certificates import ClientCertificate
from jobworker_gateway.job_table import JobTable, LiveJob
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.trace_context import TraceContext


@dataclass(frozen=True)
class AcceptedJob:
    """A job that the gateway has validated and that the cluster shall run.

    `job` is the initial record, with the id, the owner, the time of creation and status QUEUED. `request`
    is what a node gets. Both have the gateway's defaults. `request_hash` is a hash of the request as the
    client sent it; it matters only if the request has a `request_id`. `trace` is the parent of the spans of
    the job, which a retry of the request does not change.
    """

    job: job_pb2.Job
    request: job_service_pb2.CreateJobRequest
    request_hash: str = ""
    trace: TraceContext | None = None


@dataclass(frozen=True)
class ArchivedJob:
    """A final job.

    `request_key` identifies the owner and the `request_id` together. It and `request_hash` are empty if the
    client sent no `request_id`.
    """

    job: job_pb2.Job
    request_key: str = ""
    request_hash: str = ""


class Archive(Protocol):
    """The final jobs, as the engine uses them. All gateways of a cluster share one archive.

    Each method raises ClusterUnavailable if the database does not answer.
    """

    async def add(self, final: ArchivedJob) -> job_pb2.Job:
        """Store a final job, unless the archive has one with this id.

        Return the job that the archive has then.
        """

    async def find(self, job_id: str) -> job_pb2.Job | None:
        """Return a final job; None if the archive has none with this id."""

    async def is_deleted(self, job_id: str) -> bool:
        """Return whether a client has deleted a final job. The archive knows that for an hour."""

    async def find_request(self, request_key: str) -> ArchivedJob | None:
        """Return the final job of a request; None if the archive has none with this key."""


class Engine(Protocol):
    """Runs jobs in a cluster.

    Each coroutine raises ClusterUnavailable if the cluster does not answer in time, and ClusterRefused if it
    does not accept the request.
    """

    @property
    def certificate(self) -> ClientCertificate | None:
        """The client certificate with which it calls the cluster; None if it has another credential."""

    @property
    def jobs(self) -> JobTable:
        """The jobs that are not archived, as this gateway sees them."""

    @property
    def nodes(self) -> Mapping[str, cluster_service_pb2.Node]:
        """The nodes by name, with `allocated`, as this gateway sees them."""

    @property
    def problem(self) -> str:
        """The reason why `jobs` and `nodes` are not current, in one sentence. Empty if they are."""

    @property
    def complete(self) -> bool:
        """Whether `jobs` and `nodes` have been current since the start. Before that, some are missing."""

    async def run(self) -> None:
        """Keep the table current and archive final jobs, until cancelled."""

    async def submit(self, accepted: AcceptedJob) -> job_pb2.Job:
        """Store a job durably and return it with status QUEUED. The table has it then.

        A request with the `request_id` of an earlier one of the same owner returns the job of that request,
        in its current state.

        Raises:
            InvalidRequest: the queue does not exist.
            RequestIdReused: the earlier request was a different one.
        """

    async def knows(self, owner: str, request_id: str) -> bool:
        """Return whether an owner has a job of a request with this `request_id`, live or in the archive."""

    async def find(self, job_id: str) -> LiveJob | None:
        """Ask the cluster for a job that the table does not have yet; None if the cluster does not have it.

        A caller that then finds no job in the archive either can answer NOT_FOUND: look in the archive
        after this.
        """

    async def cancel(self, job_id: str, subject: str, grace_period: float | None = None) -> bool:
        """Let the cluster end a job that has not started, for a client, and return whether it does so.

        Its node can have started it by now, without the knowledge of the cluster. It then gives the job
        `grace_period` seconds, or the grace period of the job.

        True: the job becomes final; wait for it with `jobs.changed`. False: the command runs, so that only
        its node can stop it, or the job is final already.

        Raises:
            JobNotFound: the cluster does not have the job. The archive can have it.
        """

    async def end(self, live: LiveJob, record: job_pb2.Job, subject: str) -> job_pb2.Job | None:
        """Make a job final that its node has stopped for a client, before the cluster knows that.

        `record` is the answer of the node. Return the job that the archive has then. None: `live` is not the
        current attempt any more, or the record is not that of its end.
        """

    async def update(self, job: job_pb2.Job) -> None:
        """Replace the record of a running job, after its node has changed the limits.

        Raises:
            JobNotFound: the cluster does not have the job, or has begun another attempt.
        """


def check_complete(engine: Engine) -> None:
    """Check that a list has all jobs and nodes.

    Raises:
        ClusterUnavailable: this gateway has just started.
    """
    if not engine.complete:
        raise ClusterUnavailable("this gateway has just started and does not know all jobs yet")
