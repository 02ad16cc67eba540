"""Checks requests and fills in defaults: what goes on from here is right in itself.

The bounds are those that proto/jobworker/v1/job_service.proto promises. Every bad field is named, each
with the first thing that is wrong with it. A `…_problem` function returns that sentence, empty if all is
well.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.api import convert, limits, page_token
from jobworkerd.api.streaming.streams import StreamRequest
from jobworkerd.config import Defaults
from jobworkerd.errors import InvalidRequest, JobNotFound
from jobworkerd.model import JobSpec, Network
from jobworkerd.protocol import messages
from jobworkerd.signals import signal_number

_MAX_PATH_BYTES = 4_096  # PATH_MAX of linux/limits.h
_MAX_ARGS = 16_384
_MAX_ARG_BYTES = 131_071  # MAX_ARG_STRLEN of execve(2), without its NUL
_MAX_ENV = 1_024
_MAX_ENV_BYTES = 262_144
_MAX_LABELS = 64
_MAX_LABEL_VALUE_BYTES = 256
_MAX_REQUEST_ID = 128
_MAX_GRACE_SECONDS = 86_400
_MAX_TIMEOUT_SECONDS = 315_576_000_000  # the longest google.protobuf.Duration
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # those of google.protobuf.Timestamp
_DEFAULT_PAGE_SIZE = 50
_MAX_PAGE_SIZE = 1_000
_MAX_LIVE_PAGE_SIZE = 100  # the supervisor reads a dozen files for each, and nobody else has its turn

_LABEL_KEY = re.compile(r"[a-zA-Z0-9._/-]{1,63}")
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_PREFIX = re.compile(r"[0-9a-f-]{0,36}")
_PRINTABLE = re.compile(r"[ -~]*")
_ID_IN_MESSAGES = 64


def job_spec(
    request: job_service_pb2.CreateJobRequest,
    defaults: Defaults,
    owner: str,
    network: Network = Network.HOST,
) -> JobSpec:
    """Returns what the request asks for, with defaults and `network` where it says nothing.

    Raises:
        InvalidRequest: a field has a bad value.
    """
    _refuse(
        command=_command_problem(request.command),
        args=_args_problem(request.args),
        **limits.problems(request),
        working_directory=_directory_problem(request.working_directory),
        env=_env_problem(request.env),
        timeout=_timeout_problem(request.timeout) if request.HasField("timeout") else "",
        labels=_labels_problem(request.labels),
        stop_signal=_signal_problem(request.stop_signal),
        stop_grace_period=_grace_problem(request.stop_grace_period),
        request_id=_request_id_problem(request.request_id),
        limits_policy=_policy_problem(request.limits_policy),
        network=_network_problem(request.network),
    )
    return JobSpec(
        command=request.command,
        args=tuple(request.args),
        limits=limits.limits(request, defaults),
        limits_policy=convert.LIMITS_POLICIES.get(request.limits_policy, defaults.limits_policy),
        working_directory=request.working_directory,
        network=convert.NETWORKS.get(request.network, network),
        env=dict(request.env),
        timeout=_seconds(request.timeout) if request.HasField("timeout") else None,
        stop_signal=signal_number(request.stop_signal or "SIGTERM"),
        stop_grace_period=_stop_grace_period(request, defaults),
        labels=dict(request.labels),
        owner=owner,
        request_id=request.request_id,
    )


def job_id(text: str) -> str:
    """Returns the id if it looks like one.

    Raises:
        JobNotFound: it does not, so no job has it.
    """
    if not _JOB_ID.fullmatch(text):
        raise JobNotFound(text[:_ID_IN_MESSAGES])
    return text


def list_jobs(request: job_service_pb2.ListJobsRequest) -> messages.ListJobs:
    """Returns what the request asks for.

    Raises:
        InvalidRequest: a field has a bad value.
    """
    _refuse(
        page_size=_negative_problem(request.page_size),
        page_token=_page_token_problem(request),
        statuses=_statuses_problem(request.statuses),
        id_prefix=_id_prefix_problem(request.id_prefix),
    )
    most = _MAX_LIVE_PAGE_SIZE if request.live_usage else _MAX_PAGE_SIZE
    return messages.ListJobs(
        page_size=min(request.page_size or _DEFAULT_PAGE_SIZE, most),
        before=page_token.last_id(request),
        statuses=frozenset(convert.STATUSES[status] for status in request.statuses),
        labels=dict(request.labels),
        id_prefix=request.id_prefix,
        live_usage=request.live_usage,
    )


def stop_job(request: job_service_pb2.StopJobRequest, subject: str) -> messages.StopJob:
    """Returns what the request asks for; `subject` is who asks.

    Raises:
        InvalidRequest: a field has a bad value.
        JobNotFound: the id is none.
    """
    _refuse(grace_period=_grace_problem(request.grace_period))
    grace_period = _seconds(request.grace_period) if request.HasField("grace_period") else None
    return messages.StopJob(job_id=job_id(request.id), subject=subject, grace_period=grace_period)


def update_job(
    request: job_service_pb2.UpdateJobRequest, defaults: Defaults, subject: str
) -> messages.UpdateJob:
    """Returns what the request asks for, with defaults for what it sets to 0; `subject` is who asks.

    Raises:
        InvalidRequest: a field has a bad value.
        JobNotFound: the id is none.
    """
    _refuse(**limits.problems(request))
    return messages.UpdateJob(job_id(request.id), subject, limits.update(request, defaults))


def stream(request: job_service_pb2.GetJobsStreamRequest) -> StreamRequest:
    """Returns what the request asks for.

    Raises:
        InvalidRequest: a field has a bad value.
        JobNotFound: the id is none.
    """
    _refuse(
        offset=_negative_problem(request.offset),
        tail_lines=_negative_problem(request.tail_lines),
        tail_bytes=_negative_problem(request.tail_bytes),
        source=_source_problem(request.source),
        since=_timestamp_problem(request.since),
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
        result_only=request.result_only,
    )


def _refuse(**problems: str) -> None:
    if violations := {field: problem for field, problem in problems.items() if problem}:
        raise InvalidRequest(violations)


def _stop_grace_period(request: job_service_pb2.CreateJobRequest, defaults: Defaults) -> float:
    if request.HasField("stop_grace_period"):
        return _seconds(request.stop_grace_period)
    return defaults.stop_grace_period


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _command_problem(command: str) -> str:
    return "must not be empty" if not command else _path_problem(command)


def _directory_problem(directory: str) -> str:
    if directory and not directory.startswith("/"):
        return "must be an absolute path: begin it with /"
    return _path_problem(directory)


def _path_problem(path: str) -> str:
    if "\0" in path:
        return "must not contain NUL"
    if len(path.encode()) > _MAX_PATH_BYTES:
        return f"must have at most {_MAX_PATH_BYTES:,} bytes"
    return ""


def _args_problem(args: Sequence[str]) -> str:
    if len(args) > _MAX_ARGS:
        return f"must be at most {_MAX_ARGS:,} arguments, not {len(args):,}"
    for index, arg in enumerate(args):
        if "\0" in arg:
            return f"argument {index} must not contain NUL"
        if len(arg.encode()) > _MAX_ARG_BYTES:
            return f"argument {index} must have at most {_MAX_ARG_BYTES:,} bytes"
    return ""


def _env_problem(env: Mapping[str, str]) -> str:
    if len(env) > _MAX_ENV:
        return f"must be at most {_MAX_ENV:,} variables, not {len(env):,}"
    if any(not name or "=" in name or "\0" in name for name in env):
        return "names must not be empty and must not contain = or NUL"
    if any("\0" in value for value in env.values()):
        return "values must not contain NUL"
    if sum(len(name.encode()) + len(value.encode()) for name, value in env.items()) > _MAX_ENV_BYTES:
        return f"names and values must have at most {_MAX_ENV_BYTES:,} bytes in all"
    return ""


def _labels_problem(labels: Mapping[str, str]) -> str:
    if len(labels) > _MAX_LABELS:
        return f"must be at most {_MAX_LABELS} labels, not {len(labels):,}"
    if not all(_LABEL_KEY.fullmatch(key) for key in labels):
        return "keys must have 1 to 63 characters of a-z, A-Z, 0-9, '.', '_', '-' and '/'"
    if any(len(value.encode()) > _MAX_LABEL_VALUE_BYTES for value in labels.values()):
        return f"values must have at most {_MAX_LABEL_VALUE_BYTES} bytes"
    return ""


def _duration_problem(duration: Duration, most: int) -> str:
    """Durations below zero and such that are malformed, too: seconds and nanos have one sign."""
    if duration.seconds < 0 or duration.nanos < 0:
        return "must not be negative"
    if duration.nanos >= 10**9:
        return "nanos must be below 1,000,000,000"
    if (duration.seconds, duration.nanos) > (most, 0):
        return f"must be at most {most:,} s"
    return ""


def _timeout_problem(timeout: Duration) -> str:
    if not timeout.seconds and not timeout.nanos:
        return "must be more than 0; leave it out for a job without a timeout"
    return _duration_problem(timeout, _MAX_TIMEOUT_SECONDS)


def _grace_problem(grace_period: Duration) -> str:
    return _duration_problem(grace_period, _MAX_GRACE_SECONDS)


def _signal_problem(text: str) -> str:
    try:
        signal_number(text or "SIGTERM")
    except ValueError:
        return "must be a signal's name, such as SIGTERM, or its number, as in signal(7)"
    return ""


def _request_id_problem(request_id: str) -> str:
    if len(request_id) > _MAX_REQUEST_ID or not _PRINTABLE.fullmatch(request_id):
        return f"must be at most {_MAX_REQUEST_ID} printable ASCII characters"
    return ""


def _policy_problem(policy: int) -> str:
    if policy == job_pb2.LIMITS_POLICY_UNSPECIFIED or policy in convert.LIMITS_POLICIES:
        return ""
    return f"{policy} is no LimitsPolicy"


def _network_problem(network: int) -> str:
    if network == job_pb2.JOB_NETWORK_UNSPECIFIED or network in convert.NETWORKS:
        return ""
    return f"{network} is no JobNetwork"


def _statuses_problem(statuses: Iterable[int]) -> str:
    unknown = [status for status in statuses if status not in convert.STATUSES]
    return f"{unknown[0]} is no JobStatus that a job can have" if unknown else ""


def _id_prefix_problem(prefix: str) -> str:
    return "" if _ID_PREFIX.fullmatch(prefix) else "must be the beginning of a job's id: 0-9, a-f and -"


def _negative_problem(value: int) -> str:
    return "must not be negative" if value < 0 else ""


def _source_problem(source: int) -> str:
    if source == job_service_pb2.OUTPUT_SOURCE_UNSPECIFIED or source in convert.SOURCES:
        return ""
    return f"{source} is no OutputSource"


def _timestamp_problem(timestamp: Timestamp) -> str:
    if not _FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND:
        return "seconds must be those of a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z"
    if not 0 <= timestamp.nanos < 10**9:
        return "nanos must be from 0 to 999,999,999"
    return ""


def _page_token_problem(request: job_service_pb2.ListJobsRequest) -> str:
    try:
        page_token.last_id(request)
    except ValueError:
        return "must be the next_page_token of the page before, with the same statuses, labels and id_prefix"
    return ""
