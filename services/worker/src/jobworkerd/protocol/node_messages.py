"""The messages about the jobs of a cluster, which the agent and the gateways manage through NodeService."""

import msgspec

from jobworkerd.model import JobSpec
from jobworkerd.trace_context import TraceContext


class GetHost(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `Host`."""


class RunJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Starts a job with a given id. The reply is the running `Job`, or the one that an earlier request with
    the same id, owner and `request_id` has started.
    """

    job_id: str
    spec: JobSpec
    trace: TraceContext | None = None


class ListRuns(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `Runs`."""


class EvictJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Stops a job of the cluster with its grace period. The reply is the final `Job`.

    `message` is the reason for users, and `subject` the client, for the log.
    """

    job_id: str
    message: str
    subject: str


class RenewLease(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Lets the lease of the host end in some seconds, but not after a boot time. The reply is `Done`."""

    seconds: float
    not_after: float | None = None


NodeRequest = GetHost | RunJob | ListRuns | EvictJob | RenewLease


class Host(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The state of the host. `limits_problem` is why it cannot enforce limits; empty if it can."""

    limits_problem: str


class Run(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a job of the cluster."""

    job_id: str
    request_id: str
    owner: str


class Runs(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The jobs of the cluster that are not final."""

    runs: tuple[Run, ...]


NodeReply = Host | Runs
