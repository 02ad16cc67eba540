"""The messages between API processes and the supervisor.

An API process sends `Request`s. The supervisor answers each with one `Reply` that has the same `seq`. After
`Follow`, the supervisor sends notices: `Progress` with the newest state of the job, until `Unfollow` or until
the job is final. After `WatchJobs`, it sends `Changes` of all jobs, until `UnwatchJobs`. It sends
`LimitsProblem` when the problem changes, `Forgotten` when a final job is removed, and `Drain` once, at the
start of the shutdown. After a `Scrape`, the API process sends `Scraped`.
"""

import sys
from typing import Annotated

import msgspec

from jobworkerd.model import Job, JobSpec, JobStatus, LimitsUpdate
from jobworkerd.protocol.change_log import Change
from jobworkerd.protocol.input_messages import InputAccepted, InputRequest
from jobworkerd.protocol.login_messages import LoginReply, LoginRequest
from jobworkerd.protocol.metrics_messages import Metrics, MetricsRequest, Scrape
from jobworkerd.protocol.node_messages import NodeReply, NodeRequest
from jobworkerd.protocol.span_messages import SpanEnded, SpansExported
from jobworkerd.terminal import TerminalResize
from jobworkerd.trace_context import TraceContext

PageSize = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
"""A larger page would block the event loop of the supervisor."""

MAX_IDS = 50
"""More jobs would block the event loop of the supervisor, as it can have to read them from the disk."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that SQLite accepts."""


class StartJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Starts a job. The reply is the running or queued `Job`, or a `Failure`. `trace` is the span of the
    request.
    """

    spec: JobSpec
    trace: TraceContext | None = None


class GetJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests one `Job` with its current usage."""

    job_id: str


class ListJobs(msgspec.Struct, frozen=True, tag=True, kw_only=True, gc=False):
    """Requests a `JobPage`: the newest matching jobs with ids below `before` (empty = all).

    A job matches if it was created at `created_after_ns` or later and before `created_before_ns`, and if the
    first 1,024 characters of its command and arguments, joined by spaces, contain `command_contains`.

    The page ends before its jobs exceed `max_bytes`. With `live_usage`, running jobs have their current
    usage; otherwise they have none.
    """

    page_size: PageSize
    max_bytes: int = sys.maxsize
    before: str = ""
    statuses: frozenset[JobStatus] = frozenset()
    labels: dict[str, str] = {}
    id_prefix: str = ""
    owner: str = ""
    created_after_ns: Int64 | None = None
    created_before_ns: Int64 | None = None
    command_contains: str = ""
    live_usage: bool = False


class GetJobs(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests a `JobPage` of the jobs with these ids that exist, without current usage."""

    job_ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_IDS)]


class StopJob(msgspec.Struct, frozen=True, tag=True, kw_only=True, gc=False):
    """Stops a job. The reply is the final `Job`.

    Without `grace_period`, the grace period of the job applies.
    """

    job_id: str
    subject: str
    grace_period: float | None = None


class UpdateJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Changes limits of a running job. The reply is the changed `Job`."""

    job_id: str
    subject: str
    limits: LimitsUpdate


class DeleteJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Deletes the record and the log of a final job. The reply is `Done`."""

    job_id: str
    subject: str


class Follow(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests a `Job` and `Progress` notices for it."""

    job_id: str


class Unfollow(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ends the notices of `Follow`. The reply is `Done`."""

    job_id: str


class WatchJobs(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the changes of all jobs. The reply is `Watching`, and `Changes` notices follow."""


class UnwatchJobs(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ends the notices of `WatchJobs`. The reply is `Done`."""


class Ready(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Reports that the API process serves, and whether it exports spans. The reply is `Done`."""

    exports_spans: bool = False


class Ping(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Checks whether the supervisor answers. The reply is `Done`."""


class GetCertificates(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Requests the `Certificates` of the server, which the API process may not read.

    `known` is the version that the API process has; `()` means none.
    """

    known: tuple[int, ...] = ()


RequestBody = (
    Ready
    | Ping
    | SpansExported
    | StartJob
    | GetJob
    | StopJob
    | UpdateJob
    | DeleteJob
    | ListJobs
    | GetJobs
    | Follow
    | Unfollow
    | WatchJobs
    | UnwatchJobs
    | GetCertificates
    | LoginRequest
    | NodeRequest
    | InputRequest
    | MetricsRequest
)


class JobPage(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A page of jobs, newest first. It can be empty although another page follows.

    `next_before` is the `ListJobs.before` of the next page; empty if no page follows. The page contains all
    changes up to `revision`.
    """

    jobs: tuple[Job, ...]
    next_before: str = ""
    revision: int = 0


class OneJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A job."""

    job: Job


class FinalJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A final job, as reply to `GetJob`. It does not change until a `Forgotten` notice has its id."""

    job: Job


class Watching(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The position of the supervisor's change log. All changes between `floor` and `revision` follow.

    Each start of a supervisor has another `epoch`, because revisions start from 0.
    """

    epoch: int
    floor: int
    revision: int


class Certificates(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The contents of the certificate files; empty if the version is the known one.

    `crl` is None if there is no `crl.pem`.

    If the files cannot be read, `problem` is the error message and the other fields are empty.
    """

    version: tuple[int, ...] = ()
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    crl: bytes | None = None
    problem: str = ""


class Done(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Success without a value."""


class Failure(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A `JobWorkerError` in the form of `errors.to_wire`."""

    name: str
    attributes: dict[str, str | int | float]


class Fault(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An internal error of the supervisor, which has logged it. `what` is for the log of the API process
    only.
    """

    what: str


ReplyBody = (
    Fault
    | OneJob
    | FinalJob
    | JobPage
    | Watching
    | InputAccepted
    | Certificates
    | LoginReply
    | NodeReply
    | Metrics
    | Done
    | Failure
)


class Request(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One request. The sender chooses `seq`."""

    seq: int
    body: RequestBody


class Reply(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The reply to the request with the same `seq`."""

    seq: int
    body: ReplyBody


class Progress(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The new state of a followed job. `job` is set if the job is final.

    `resize` is the last change of the terminal's size.
    """

    job_id: str
    log_size: int
    job: Job | None = None
    resize: TerminalResize | None = None


class Changes(msgspec.Struct, frozen=True, tag=True, gc=False):
    """All changes of jobs after the revision `after`, up to the last one here.

    They can start after the end of the previous notice. The changes in between are lost then.
    """

    after: int
    changes: tuple[Change, ...]


class LimitsProblem(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The reason why limits can no longer be enforced; empty if they can be enforced again."""

    reason: str


class Drain(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The server shuts down. The API process reports NOT_SERVING, refuses new jobs, and ends when the
    socket closes.
    """


class Forgotten(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The supervisor has removed a final job. Cached copies of the job are invalid."""

    job_id: str


ToSupervisor = Request
ToApi = Reply | Progress | Changes | Forgotten | LimitsProblem | Drain | Scrape | SpanEnded
