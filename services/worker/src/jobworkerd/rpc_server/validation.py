"""Checks requests and converts them to messages for the supervisor, with defaults filled in.

An error names all fields that are not accepted, each with the first problem found.
"""

from collections.abc import Collection

from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from jobworker.v1 import job_pb2, job_service_pb2, job_watch_pb2
from jobworkerd.config import Config, Defaults
from jobworkerd.errors import InvalidRequest, JobNotFound
from jobworkerd.job_id import is_job_id
from jobworkerd.model import JobSpec, Stdin
from jobworkerd.protocol import messages
from jobworkerd.rpc_server import (
    bounds,
    cluster_checks,
    convert,
    job_filters,
    limits,
    page_token,
    watch_cursor,
)
from jobworkerd.rpc_server import field_checks as check
from jobworkerd.rpc_server.requests import StreamRequest, WatchRequest
from jobworkerd.signals import signal_number
from jobworkerd.terminal import Terminal

_ID_IN_MESSAGES = 64


def job_spec(
    request: job_service_pb2.CreateJobRequest,
    config: Config,
    owner: str,
    queues: Collection[str] | None = None,
) -> JobSpec:
    """Return the job that a request describes; the defaults of the server replace unset fields.

    `queues` are the queues of the cluster. A single host has None, and refuses what only a cluster can do.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    defaults, isolation = config.defaults, config.isolation
    raise_violations(
        command=check.command(request.command),
        args=check.args(request.args),
        **limits.problems(request),
        working_directory=check.directory(request.working_directory),
        env=check.env(request.env),
        timeout=check.timeout(request.timeout) if request.HasField("timeout") else "",
        labels=check.labels(request.labels),
        stop_signal=check.signal(request.stop_signal),
        stop_grace_period=check.duration(request.stop_grace_period, bounds.GRACE_PERIOD),
        request_id=check.request_id(request.request_id),
        limits_policy=check.enum(request.limits_policy, convert.LIMITS_POLICIES, "limits policy"),
        network=check.enum(request.network, convert.NETWORKS, "network"),
        max_scratch=bounds.SCRATCH.value_problem(request.max_scratch)
        or config.scratch.excess(request.max_scratch),
        priority=bounds.PRIORITY.value_problem(request.priority),
        queue_timeout=(
            check.queue_timeout(request.queue_timeout) if request.HasField("queue_timeout") else ""
        ),
        stdin=_stdin_problem(request),
        terminal=_terminal_problem(request.terminal),
        **cluster_checks.problems(request, queues),
    )
    wanted = limits.limits(request, defaults)
    raise_violations(**config.capacity.excess(wanted.max_cpu, wanted.max_memory))
    return JobSpec(
        command=request.command,
        args=tuple(request.args),
        limits=wanted,
        limits_policy=convert.LIMITS_POLICIES.get(request.limits_policy, defaults.limits_policy),
        working_directory=request.working_directory,
        network=convert.NETWORKS.get(request.network, isolation.network),
        max_scratch=request.max_scratch or (config.scratch.default if isolation.mount_namespace else 0),
        env=dict(request.env),
        timeout=_seconds(request.timeout) if request.HasField("timeout") else None,
        stop_signal=signal_number(request.stop_signal or "SIGTERM"),
        stop_grace_period=_stop_grace_period(request, defaults),
        labels=dict(request.labels),
        owner=owner,
        request_id=request.request_id,
        priority=request.priority,
        queue_timeout=_seconds(request.queue_timeout) if request.HasField("queue_timeout") else None,
        stdin=convert.STDINS.get(request.stdin, Stdin.NONE),
        terminal=_terminal(request.terminal) if request.HasField("terminal") else None,
        queue=request.queue,
        node_selector=dict(request.node_selector),
        retry_on_lost=request.retry_on_lost,
    )


def _stdin_problem(request: job_service_pb2.CreateJobRequest) -> str:
    if request.stdin and request.HasField("terminal"):
        return "set together with terminal, which is the stdin of the job; set one of them"
    return check.enum(request.stdin, convert.STDINS, "source of stdin")


def _terminal_problem(terminal: job_pb2.JobTerminal) -> str:
    problems = {
        "columns": bounds.INITIAL_COLUMNS.value_problem(terminal.columns),
        "rows": bounds.INITIAL_ROWS.value_problem(terminal.rows),
        "term": check.term(terminal.term),
    }
    return next((f"{name}: {problem}" for name, problem in problems.items() if problem), "")


def _terminal(terminal: job_pb2.JobTerminal) -> Terminal:
    default = Terminal()
    return Terminal(
        terminal.columns or default.columns, terminal.rows or default.rows, terminal.term or default.term
    )


def job_id(text: str) -> str:
    """Return the text if it has the format of a job id.

    Raises:
        JobNotFound: no job can have this id.
    """
    if not is_job_id(text):
        raise JobNotFound(text[:_ID_IN_MESSAGES])
    return text


def list_jobs(request: job_service_pb2.ListJobsRequest) -> messages.ListJobs:
    """Return the message for a list request.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    raise_violations(
        page_size=bounds.PAGE_SIZE.negative_problem(request.page_size),
        page_token=_page_token_problem(request),
        **job_filters.problems(request),
    )
    bound = bounds.LIVE_PAGE_SIZE if request.live_usage else bounds.PAGE_SIZE
    page_size = min(request.page_size or bounds.DEFAULT_PAGE_SIZE, bound.maximum)
    first = job_filters.first_page(request, page_size)
    return replace(first, before=page_token.last_id(request), live_usage=request.live_usage)


def watch_jobs(request: job_watch_pb2.WatchJobsRequest) -> WatchRequest:
    """Return the watch that a request describes.

    Raises:
        InvalidRequest: a value is not accepted.
    """
    raise_violations(
        **job_filters.problems(request),
        ids=check.job_ids(request.ids),
        max_final_jobs=bounds.MAX_FINAL_JOBS.value_problem(request.max_final_jobs),
    )
    return WatchRequest(
        first_page=job_filters.first_page(request, bounds.SNAPSHOT_PAGE_SIZE),
        ids=tuple(dict.fromkeys(request.ids)),
        max_final_jobs=request.max_final_jobs if request.HasField("max_final_jobs") else None,
        cursor=request.cursor,
        fingerprint=watch_cursor.fingerprint(request),
    )


def stop_job(request: job_service_pb2.StopJobRequest, subject: str) -> messages.StopJob:
    """Return the message for a stop request; `subject` identifies the client.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    raise_violations(grace_period=check.duration(request.grace_period, bounds.STOP_GRACE_PERIOD))
    grace_period = _seconds(request.grace_period) if request.HasField("grace_period") else None
    return messages.StopJob(job_id=job_id(request.id), subject=subject, grace_period=grace_period)


def update_job(
    request: job_service_pb2.UpdateJobRequest, defaults: Defaults, subject: str
) -> messages.UpdateJob:
    """Return the message for an update request; `defaults` replace limits that are set to 0.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    raise_violations(**limits.problems(request))
    return messages.UpdateJob(job_id(request.id), subject, limits.update(request, defaults))


def wait_job(request: job_service_pb2.WaitJobRequest) -> tuple[str, float]:
    """Return the job id and the timeout in seconds of a wait request.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    raise_violations(timeout=check.duration(request.timeout, bounds.WAIT_TIMEOUT))
    timeout = _seconds(request.timeout) if request.HasField("timeout") else bounds.WAIT_TIMEOUT.maximum
    return job_id(request.id), timeout


def stream(request: job_service_pb2.GetJobsStreamRequest) -> StreamRequest:
    """Return the stream that a request describes.

    Raises:
        InvalidRequest: a value is not accepted.
        JobNotFound: no job can have this id.
    """
    raise_violations(
        offset=bounds.OFFSET.value_problem(request.offset),
        tail_lines=bounds.TAIL_LINES.value_problem(request.tail_lines),
        tail_bytes=bounds.TAIL_BYTES.value_problem(request.tail_bytes),
        source=check.enum(request.source, convert.SOURCES, "output source"),
        since=check.timestamp(request.since),
    )
    return StreamRequest(
        job_id=job_id(request.id),
        offset=request.offset,
        tail_lines=request.tail_lines if request.HasField("tail_lines") else None,
        tail_bytes=request.tail_bytes if request.HasField("tail_bytes") else None,
        since_ns=request.since.ToNanoseconds() if request.HasField("since") else None,
        source=convert.SOURCES.get(request.source),
        mixed_sources=request.mixed_sources,
        follow=request.follow if request.HasField("follow") else True,
    )


def raise_violations(**problems: str) -> None:
    """Raise InvalidRequest if a field has a problem."""
    if violations := {field: problem for field, problem in problems.items() if problem}:
        raise InvalidRequest(violations)


def _stop_grace_period(request: job_service_pb2.CreateJobRequest, defaults: Defaults) -> float:
    if request.HasField("stop_grace_period"):
        return _seconds(request.stop_grace_period)
    return defaults.stop_grace_period


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _page_token_problem(request: job_service_pb2.ListJobsRequest) -> str:
    try:
        page_token.last_id(request)
    except ValueError:
        return "not a token of this list; use the next_page_token of the previous page with the same filters"
    return ""
