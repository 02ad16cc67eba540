"""What the API processes and the supervisor say to each other.

An API process sends `Request`s; each is answered by one `Reply` with the same `seq`. After `Follow`,
`Progress` of that job comes unasked, newest state only, until `Unfollow` or the job is final. Besides,
the supervisor says `LimitsProblem` when that changes, and `Drain` once, when the server begins to shut down.
"""

import sys

import msgspec

from jobworkerd.model import Job, JobSpec, JobStatus, LimitsUpdate


class StartJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Starts a job; the reply is the `Job` that runs, or its failure."""

    spec: JobSpec


class GetJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Asks for one `Job`, with the usage of this moment."""

    job_id: str


class ListJobs(msgspec.Struct, frozen=True, tag=True, kw_only=True, gc=False):
    """Requests a `JobPage`: the newest matching jobs with ids below `before` (empty = all).

    The page ends before its jobs exceed `max_bytes`. With `live_usage`, running jobs have their current
    usage; otherwise they have none.
    """

    page_size: int
    max_bytes: int = sys.maxsize
    before: str = ""
    statuses: frozenset[JobStatus] = frozenset()
    labels: dict[str, str] = {}
    id_prefix: str = ""
    live_usage: bool = False


class StopJob(msgspec.Struct, frozen=True, tag=True, kw_only=True, gc=False):
    """Ends a job; the reply is the final `Job`. `grace_period` None means the job's own."""

    job_id: str
    subject: str
    grace_period: float | None = None


class UpdateJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Changes limits of a running job; the reply is the `Job` as it is then."""

    job_id: str
    subject: str
    limits: LimitsUpdate


class Follow(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Asks for a `Job` now and for `Progress` from now on."""

    job_id: str


class Unfollow(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Ends `Follow`; the reply is `Done`."""

    job_id: str


class Ready(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Says that the API process serves; the reply is `Done`."""


class Ping(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Asks whether the supervisor answers; the reply is `Done`."""


class GetCertificates(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Asks for the `Certificates` of the server, which the API process cannot read itself.

    `known` is the version that it has; `()` is none.
    """

    known: tuple[int, ...] = ()


RequestBody = (
    Ready | Ping | StartJob | GetJob | StopJob | UpdateJob | ListJobs | Follow | Unfollow | GetCertificates
)


class JobPage(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A page of jobs, newest first; `more` says whether there are others."""

    jobs: tuple[Job, ...]
    more: bool


class OneJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A job."""

    job: Job


class FinalJob(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A job that is final, in answer to `GetJob`: it is the same until `Forgotten` has its id."""

    job: Job


class Certificates(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The contents of `ca.pem`, `server.pem` and `server-key.pem`; empty if the version is the known one.

    If they cannot be read, `problem` is the sentence that says so, and there is nothing else.
    """

    version: tuple[int, ...] = ()
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    problem: str = ""


class Done(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Success with nothing to say."""


class Failure(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A domain error, as `errors.to_wire` takes it apart."""

    name: str
    attributes: dict[str, str | int | float]


class Fault(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A bug of the supervisor's, which has logged it; `what` is for the API's log, not for the client."""

    what: str


ReplyBody = Fault | OneJob | FinalJob | JobPage | Certificates | Done | Failure


class Request(msgspec.Struct, frozen=True, tag=True, gc=False):
    """One request; `seq` is the sender's."""

    seq: int
    body: RequestBody


class Reply(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The answer to the request with this `seq`."""

    seq: int
    body: ReplyBody


class Progress(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The log of a followed job has `log_size` bytes; `job` is set once the job is final."""

    job_id: str
    log_size: int
    job: Job | None = None


class LimitsProblem(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Says why limits that were enforced when the server started no longer are; empty if they are again."""

    reason: str


class Drain(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The server shuts down: be NOT_SERVING, refuse new jobs. End when the socket closes."""


class Forgotten(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The supervisor has dropped a final job; nothing that was said of it before holds any more."""

    job_id: str


ToSupervisor = Request
ToApi = Reply | Progress | Forgotten | LimitsProblem | Drain
