"""Checks single fields of requests. Each function returns an error message, or an empty string.

InvalidRequest puts the name of the field before the message.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jobworkerd.job_id import is_job_id, is_prefix
from jobworkerd.limit_bounds import Bound
from jobworkerd.rpc_server import bounds
from jobworkerd.signals import signal_number

_Number = TypeVar("_Number", bound=int)

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the range of google.protobuf.Timestamp
_NANOS = Bound(0, 999_999_999, "ns")

_LABEL_KEY = re.compile(rf"[a-zA-Z0-9._/-]{{{bounds.LABEL_KEY.minimum},{bounds.LABEL_KEY.maximum}}}")
_PRINTABLE = re.compile(r"[ -~]*")


def command(text: str) -> str:
    """Check a path or a program name."""
    return _path(text, bounds.PATH) if text else "empty; use the path or the name of a program"


def directory(text: str) -> str:
    """Check an absolute path. An empty path is accepted."""
    if text and not text.startswith("/"):
        return f"{_quoted(text)} is relative; use an absolute path, which starts with /"
    return _path(text, bounds.DIRECTORY)


def _path(text: str, bound: Bound) -> str:
    return "contains NUL; remove it" if "\0" in text else bound.size_problem(len(text.encode()))


def args(values: Sequence[str]) -> str:
    """Check the number of arguments and each of them."""
    return bounds.ARGS.size_problem(len(values)) or _first(map(_argument, range(len(values)), values))


def _argument(index: int, value: str) -> str:
    if "\0" in value:
        return f"argument {index} contains NUL; remove it"
    problem = bounds.ARG.size_problem(len(value.encode()))
    return problem and f"argument {index} {problem}"


def env(variables: Mapping[str, str]) -> str:
    """Check environment variables."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in variables.items())
    return (
        bounds.ENV.size_problem(len(variables))
        or _first(_variable(name, value) for name, value in variables.items())
        or bounds.ENV_BYTES.size_problem(size)
    )


def _variable(name: str, value: str) -> str:
    if not name or "=" in name or "\0" in name:
        return f"{_quoted(name)} is not a name; use a name that is not empty and has no = and no NUL"
    return f"value of {_quoted(name)} contains NUL; remove it" if "\0" in value else ""


def labels(values: Mapping[str, str]) -> str:
    """Check the number of labels, their keys and their values."""
    return bounds.LABELS.size_problem(len(values)) or _first(
        _label(key, value) for key, value in values.items()
    )


def _label(key: str, value: str) -> str:
    if not _LABEL_KEY.fullmatch(key):
        bound = bounds.LABEL_KEY
        characters = f"{bound.minimum} to {bound.maximum} characters of a-z, A-Z, 0-9, '.', '_', '-' and '/'"
        return f"{_quoted(key)} is not a key; use {characters}"
    problem = bounds.LABEL_VALUE.size_problem(len(value.encode()))
    return problem and f"value of {_quoted(key)} {problem}"


def duration(value: Duration, bound: Bound) -> str:
    """Check a duration. Its two fields must have the same sign, and nanos must be less than a second."""
    problem = bound.value_problem(value.seconds) or _NANOS.value_problem(value.nanos)
    if not problem and (value.seconds, value.nanos) > (bound.maximum, 0):
        return f"more than {bound.maximum} s; use {bound.accepted}"
    return problem


def timeout(value: Duration) -> str:
    """Check the timeout of a job."""
    if not value.seconds and not value.nanos:
        return "0 s is too short; use more than 0 s, or leave it unset for no timeout"
    return duration(value, bounds.TIMEOUT)


def queue_timeout(value: Duration) -> str:
    """Check the time that a job can wait in the queue."""
    if not value.seconds and not value.nanos:
        return "0 s is too short; use more than 0 s, or leave it unset for a job that does not wait"
    return duration(value, bounds.QUEUE_TIMEOUT)


def signal(text: str) -> str:
    """Check the name or the number of a signal. An empty text is accepted."""
    try:
        signal_number(text or "SIGTERM")
    except ValueError:
        return f"unknown signal {_quoted(text)}; use a name such as SIGTERM or a number, see signal(7)"
    return ""


def request_id(text: str) -> str:
    """Check the id of a request."""
    if not _PRINTABLE.fullmatch(text):
        return f"{_quoted(text)} has other characters than printable ASCII; use a UUID"
    return bounds.REQUEST_ID.size_problem(len(text))


def term(text: str) -> str:
    """Check the type of a terminal."""
    if not _PRINTABLE.fullmatch(text):
        return f"{_quoted(text)} has other characters than printable ASCII; use a name such as xterm"
    return bounds.TERM.size_problem(len(text))


def enum(value: _Number, known: Mapping[_Number, object], noun: str) -> str:
    """Check the value of an enum. 0, which means unspecified, is accepted."""
    return "" if value == 0 else known_enum(value, known, noun)


def known_enum(value: _Number, known: Mapping[_Number, object], noun: str) -> str:
    """Check the value of an enum. 0 is not accepted."""
    names = [str(getattr(each, "name", each)) for each in known.values()]
    accepted = " or ".join([", ".join(names[:-1]), names[-1]])
    return "" if value in known else f"unknown {noun} {value}; use {accepted}"


def statuses(values: Iterable[_Number], known: Mapping[_Number, object]) -> str:
    """Check the statuses of a filter."""
    return _first(known_enum(value, known, "job status") for value in values)


def id_prefix(text: str) -> str:
    """Check the start of a job id."""
    if is_prefix(text):
        return ""
    return (
        f"{_quoted(text)} is not the start of a job id; use at most {bounds.ID_PREFIX.maximum} of 0-9, a-f, -"
    )


def job_ids(ids: Collection[str]) -> str:
    """Check the ids of jobs."""
    wrong = next((each for each in ids if not is_job_id(each)), None)
    if wrong is None:
        return bounds.WATCHED_IDS.size_problem(len(ids))
    return f"{_quoted(wrong)} is not a job id; use complete ids, as CreateJob returns them"


def timestamp(value: Timestamp) -> str:
    """Check a time."""
    if not _FIRST_SECOND <= value.seconds <= _LAST_SECOND:
        return f"{value.seconds} s is out of range; use 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z"
    return _NANOS.value_problem(value.nanos)


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")


def _quoted(text: str) -> str:
    return repr(text[:64])
