"""The bounds of requests, as the comments of the protos state them. Every bad field is named at once.

Each `checked_…` returns what the supervisor is asked for, with the server's defaults filled in.

Raises, each of them:
    InvalidRequest: a field has a value that is not accepted.
"""

import base64
import binascii
import re
import signal
import uuid
from collections.abc import Mapping

from google.protobuf import duration_pb2

from jobworker.v1 import job_pb2, job_service_pb2
from jobworkerd.api import convert
from jobworkerd.api.signals import signal_number
from jobworkerd.config import Defaults
from jobworkerd.errors import InvalidRequest, JobNotFound
from jobworkerd.model import JobSpec, Limits
from jobworkerd.protocol.messages import ListJobs, StopJob

_PATH_BYTES = 4096
_ARGS_COUNT = 16_384
_ARG_BYTES = 131_071
_ENV_COUNT = 1024
_ENV_BYTES = 262_144
_LABELS_COUNT = 64
_LABEL_VALUE_BYTES = 256
_DAY_SECONDS = 86_400
_PAGE_DEFAULT, _PAGE_MOST = 50, 1000
_MOST = {"max_cpu": 100_000, "max_memory": 16_777_216, "max_io_bps": 2**40, "max_pids": 4_194_304}

_LABEL_KEY = re.compile(r"[A-Za-z0-9._/-]{1,63}")
_REQUEST_ID = re.compile(r"[ -~]{0,128}")
_ID_PREFIX = re.compile(r"[0-9a-f-]{0,36}")


class _Violations(dict[str, str]):
    """Collects a sentence a field; the first one of a field stays."""

    def check(self, field: str, *, fits: bool, why: str) -> None:
        if not fits:
            self.setdefault(field, why)

    def raise_if_any(self) -> None:
        if self:
            raise InvalidRequest(dict(self))


def checked_job(request: job_service_pb2.CreateJobRequest, defaults: Defaults, owner: str) -> JobSpec:
    """Returns the job that a request asks for."""
    bad = _Violations()
    _check_command(bad, request)
    _check_env(bad, request.env)
    _check_labels(bad, request.labels)
    bad.check(
        "request_id",
        fits=bool(_REQUEST_ID.fullmatch(request.request_id)),
        why="up to 128 printable ASCII characters are accepted",
    )
    limits = _limits(bad, request, defaults)
    stop_signal = _stop_signal(bad, request.stop_signal)
    timeout = _seconds(bad, "timeout", request.timeout) if request.HasField("timeout") else None
    bad.check(
        "timeout", fits=timeout is None or timeout > 0, why="more than 0 is needed; leave it out for no end"
    )
    grace = defaults.stop_grace_period
    if request.HasField("stop_grace_period"):
        grace = _grace_period(bad, "stop_grace_period", request.stop_grace_period)
    known = request.limits_policy in job_pb2.LimitsPolicy.values()
    bad.check("limits_policy", fits=known, why=f"{request.limits_policy} is no LimitsPolicy")
    bad.raise_if_any()
    policy = defaults.limits_policy
    if request.limits_policy:
        policy = convert.policy_from_proto(request.limits_policy)
    return JobSpec(
        command=request.command,
        args=tuple(request.args),
        limits=limits,
        limits_policy=policy,
        working_directory=request.working_directory or "/",
        env=dict(request.env),
        timeout=timeout,
        stop_signal=stop_signal,
        stop_grace_period=grace,
        labels=dict(request.labels),
        owner=owner,
        request_id=request.request_id,
    )


def checked_id(job_id: str) -> str:
    """Returns a job's id.

    Raises:
        JobNotFound: no job can have that id.
    """
    try:
        if str(uuid.UUID(job_id)) == job_id:
            return job_id
    except ValueError:
        pass
    raise JobNotFound(job_id)


def checked_list(request: job_service_pb2.ListJobsRequest) -> ListJobs:
    """Returns the page that a request asks for."""
    bad = _Violations()
    bad.check("page_size", fits=request.page_size >= 0, why="0 or more is accepted")
    for status in request.statuses:
        known = status in job_pb2.JobStatus.values() and status != job_pb2.JOB_STATUS_UNSPECIFIED
        bad.check("statuses", fits=known, why=f"{status} is no status that a job can have")
    prefix = bool(_ID_PREFIX.fullmatch(request.id_prefix))
    bad.check("id_prefix", fits=prefix, why="ids have the characters 0-9, a-f and - only")
    before = _before(bad, request.page_token)
    bad.raise_if_any()
    return ListJobs(
        page_size=min(request.page_size or _PAGE_DEFAULT, _PAGE_MOST),
        before=before,
        statuses=frozenset(map(convert.status_from_proto, request.statuses)),
        labels=dict(request.labels),
        id_prefix=request.id_prefix,
    )


def page_token(last_id: str) -> str:
    """Returns the token of the page that follows the one that ends with a job."""
    return base64.urlsafe_b64encode(uuid.UUID(last_id).bytes).decode()


def checked_stop(request: job_service_pb2.StopJobRequest, subject: str) -> StopJob:
    """Returns the stop that a request asks for."""
    bad = _Violations()
    grace = None
    if request.HasField("grace_period"):
        grace = _grace_period(bad, "grace_period", request.grace_period)
    bad.raise_if_any()
    return StopJob(job_id=checked_id(request.id), subject=subject, grace_period=grace)


def check_stream(request: job_service_pb2.GetJobsStreamRequest) -> None:
    """Checks the fields of a request for a log."""
    bad = _Violations()
    bad.check("offset", fits=request.offset >= 0, why="0 or more is accepted")
    bad.raise_if_any()
    checked_id(request.id)


def _check_command(bad: _Violations, request: job_service_pb2.CreateJobRequest) -> None:
    length = len(request.command.encode())
    bad.check("command", fits=length > 0, why="a command is needed")
    bad.check("command", fits=length <= _PATH_BYTES, why=f"at most {_PATH_BYTES} bytes are accepted")
    bad.check("command", fits="\0" not in request.command, why="a NUL is not accepted")
    bad.check("args", fits=len(request.args) <= _ARGS_COUNT, why=f"at most {_ARGS_COUNT} are accepted")
    for number, arg in enumerate(request.args):
        field = f"args[{number}]"
        bad.check(field, fits="\0" not in arg, why="a NUL is not accepted")
        bad.check(field, fits=len(arg.encode()) <= _ARG_BYTES, why=f"at most {_ARG_BYTES} bytes are accepted")
    directory = request.working_directory
    absolute = not directory or directory.startswith("/")
    bad.check("working_directory", fits=absolute, why="an absolute path is needed")
    short = len(directory.encode()) <= _PATH_BYTES
    bad.check("working_directory", fits=short, why=f"at most {_PATH_BYTES} bytes are accepted")
    bad.check("working_directory", fits="\0" not in directory, why="a NUL is not accepted")


def _check_env(bad: _Violations, env: Mapping[str, str]) -> None:
    bad.check("env", fits=len(env) <= _ENV_COUNT, why=f"at most {_ENV_COUNT} variables are accepted")
    size = sum(len(name.encode()) + len(value.encode()) for name, value in env.items())
    bad.check("env", fits=size <= _ENV_BYTES, why=f"at most {_ENV_BYTES} bytes are accepted in all")
    for name, value in env.items():
        named = bool(name) and "=" not in name and "\0" not in name
        bad.check("env", fits=named, why=f"{name!r} is no name: it must not be empty nor have = or NUL")
        bad.check("env", fits="\0" not in value, why=f"the value of {name} has a NUL, which is not accepted")


def _check_labels(bad: _Violations, labels: Mapping[str, str]) -> None:
    bad.check("labels", fits=len(labels) <= _LABELS_COUNT, why=f"at most {_LABELS_COUNT} are accepted")
    for key, value in labels.items():
        why = f"{key!r} is no key: 1 to 63 of a-z, A-Z, 0-9 and . _ - / are accepted"
        bad.check("labels", fits=bool(_LABEL_KEY.fullmatch(key)), why=why)
        short = len(value.encode()) <= _LABEL_VALUE_BYTES
        bad.check("labels", fits=short, why=f"the value of {key!r} has more than {_LABEL_VALUE_BYTES} bytes")


def _limits(bad: _Violations, request: job_service_pb2.CreateJobRequest, defaults: Defaults) -> Limits:
    asked = {name: int(getattr(request, name)) for name in _MOST}
    for name, value in asked.items():
        fits = 0 <= value <= _MOST[name]
        bad.check(name, fits=fits, why=f"0 (the default) to {_MOST[name]} is accepted, not {value}")
    return Limits(**{name: value or getattr(defaults, name) for name, value in asked.items()})


def _stop_signal(bad: _Violations, text: str) -> int:
    try:
        return signal_number(text) if text else signal.SIGTERM
    except ValueError:
        bad.check(
            "stop_signal", fits=False, why=f"{text!r} is no signal; a name such as SIGTERM is, or a number"
        )
        return signal.SIGTERM


def _grace_period(bad: _Violations, field: str, given: duration_pb2.Duration) -> float:
    seconds = _seconds(bad, field, given)
    bad.check(field, fits=0 <= seconds <= _DAY_SECONDS, why="0 to one day is accepted")
    return seconds


def _seconds(bad: _Violations, field: str, given: duration_pb2.Duration) -> float:
    try:
        return given.ToNanoseconds() / 1e9
    except ValueError:
        bad.check(field, fits=False, why="this is no valid duration")
        return 0.0


def _before(bad: _Violations, token: str) -> str:
    if not token:
        return ""
    try:
        return str(uuid.UUID(bytes=base64.b64decode(token, altchars=b"-_", validate=True)))
    except (ValueError, binascii.Error):
        bad.check("page_token", fits=False, why="this is no next_page_token of ListJobs")
        return ""
