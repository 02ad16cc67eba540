"""Proto comments and the help of `jobworker` state the same bounds as the table that the server uses."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from typer.testing import CliRunner

from jobworker.v1 import job_attach_pb2, job_pb2, job_service_pb2, job_watch_pb2
from jobworker_cli.main import app
from jobworkerd.limit_bounds import LIMIT_BOUNDS, Bound
from jobworkerd.model import Limits
from jobworkerd.rpc_server.bounds import MAX_REQUEST_BYTES, REQUEST_BOUNDS

PROTOS = Path(__file__).parents[3] / "proto/jobworker/v1"

MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"((?:^ *//[^\n]*\n)+) *[^\n/]*?(\w+) = \d+", re.MULTILINE)
NUMBER = r"(\d[\d,]*(?:\^\d+)?)"
STATED = re.compile(
    rf"(?:at most|up to|more than|below|less than) {NUMBER}|(?:from )?{NUMBER} to {NUMBER}", re.IGNORECASE
)

NOT_OF_THE_FIELD = {MAX_REQUEST_BYTES}
INT64 = 2**63 - 1
DURATION = 315_576_000_000
"""The maxima of the types themselves, which comments do not state."""


def number(text: str) -> int:
    base, _, exponent = text.replace(",", "").partition("^")
    return int(math.pow(int(base), int(exponent or 1)))


def stated_numbers(text: str) -> set[int]:
    found = {number(each) for match in STATED.finditer(text) for each in match.groups() if each}
    return found - NOT_OF_THE_FIELD


def comments() -> Iterator[tuple[str, str, str]]:
    for path in sorted(PROTOS.glob("*.proto")):
        for message, body in MESSAGE.findall(path.read_text()):
            for comment, field in FIELD.findall(body):
                yield message, field, " ".join(comment.replace("//", " ").split())


COMMENTS = {(message, field): comment for message, field, comment in comments()}
BOUNDED = [(message, field) for message, fields in REQUEST_BOUNDS.items() for field in fields]


def problems(comment: str, bounds: tuple[Bound, ...]) -> list[str]:
    stated = stated_numbers(comment)
    known = {each for bound in bounds for each in (bound.minimum, bound.maximum)}
    maxima = {bound.maximum for bound in bounds} - {INT64, DURATION}
    return [f"states {each}" for each in sorted(stated - known)] + [
        f"does not state {each}" for each in sorted(maxima - stated)
    ]


@pytest.mark.parametrize(("message", "field"), BOUNDED)
def test_the_comment_of_a_field_states_its_bounds(message: str, field: str) -> None:
    if message == "UpdateJobRequest":
        assert not stated_numbers(COMMENTS[message, field]), "CreateJobRequest states the bounds"
        return
    assert problems(COMMENTS[message, field], REQUEST_BOUNDS[message][field]) == []


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("MiB. 0 = the default. At most 100.", []),
        ("MiB, from 1 to 100.", []),
        ("MiB. At most 1,000.", ["states 1000", "does not state 100"]),
        ("MiB. Up to 2^10.", ["states 1024", "does not state 100"]),
        ("MiB.", ["does not state 100"]),
    ],
)
def test_a_comment_with_another_bound_is_found(comment: str, found: list[str]) -> None:
    assert problems(comment, (Bound(1, 100, "MiB"),)) == found


MESSAGES = {
    **job_service_pb2.DESCRIPTOR.message_types_by_name,
    **job_watch_pb2.DESCRIPTOR.message_types_by_name,
    **job_attach_pb2.DESCRIPTOR.message_types_by_name,
    **job_pb2.DESCRIPTOR.message_types_by_name,
}


def test_every_bounded_field_exists() -> None:
    for message, fields in REQUEST_BOUNDS.items():
        described = MESSAGES[message]
        assert set(fields) <= set(described.fields_by_name)


UNBOUNDED = {
    ("GetJobsStreamRequest", "since"),
    ("ListJobsRequest", "created_after"),
    ("ListJobsRequest", "created_before"),
    ("WatchJobsRequest", "created_after"),
    ("WatchJobsRequest", "created_before"),
}
"""Fields that accept every value of their type."""

NOT_NUMERIC = {
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_ENUM,
    FieldDescriptor.CPPTYPE_MESSAGE,
    FieldDescriptor.CPPTYPE_STRING,
}


def is_quantity(field: FieldDescriptor) -> bool:
    """Returns whether a field is a number, a duration or a time."""
    if field.message_type:
        return field.message_type.full_name in {"google.protobuf.Duration", "google.protobuf.Timestamp"}
    return field.cpp_type not in NOT_NUMERIC


def test_every_numeric_field_of_a_request_has_bounds() -> None:
    quantities = {
        (name, field.name)
        for name, message in MESSAGES.items()
        if name.endswith("Request")
        for field in message.fields
        if is_quantity(field)
    }
    assert len(quantities) > len(UNBOUNDED)
    assert quantities - set(BOUNDED) == UNBOUNDED


def test_every_limit_has_bounds() -> None:
    assert {*LIMIT_BOUNDS, "cpu_set"} == set(Limits.__struct_fields__)


OPTION = re.compile(r"^ +(?:-\w, )?--([\w-]+)", re.MULTILINE)
RANGE = re.compile(r"\[(\d+)<=x(?:<=(\d+))?\]|\[x>=(\d+)\]")


def ranges(command: str) -> dict[str, tuple[int, int]]:
    """Return the range of each numeric option that the help of a command states, by field name."""
    options = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    _, *parts = OPTION.split(options)
    found = {
        name.replace("-", "_"): RANGE.search(text) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {name: (int(each[1] or each[3]), int(each[2] or INT64)) for name, each in found.items() if each}


@pytest.mark.parametrize("command", ["run", "create", "update", "stream", "list"])
def test_the_help_of_an_option_states_the_bounds_of_its_field(command: str) -> None:
    bounds = {field: bound for fields in REQUEST_BOUNDS.values() for field, (bound, *_) in fields.items()}
    for name, stated in ranges(command).items():
        if bound := bounds.get(name):
            assert stated == (0 if bound.zero else bound.minimum, bound.maximum), name


def test_the_options_with_bounds_are_found() -> None:
    limits = set(LIMIT_BOUNDS)
    assert limits <= set(ranges("run")) & set(ranges("update"))
