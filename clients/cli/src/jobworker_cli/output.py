"""Where output goes and in what form: data on stdout, talk on stderr, colour on a terminal only."""

import contextlib
import enum
import json
import os
import sys
from collections.abc import Sequence

import typer
from google.protobuf.json_format import MessageToDict

from jobworker.v1 import job_pb2

__all__ = ["Format", "job_as_dict", "print_job_json", "print_jobs_json", "printable", "say", "styled"]


class Format(enum.StrEnum):
    """The forms of a result: for people, or for programs (the protobuf JSON mapping)."""

    TABLE = "table"
    JSON = "json"


def say(text: str) -> None:
    """Writes a line of talk to stderr."""
    with contextlib.suppress(BrokenPipeError):
        print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    r"""Returns the text with everything that could steer a terminal escaped, such as `\x1b`.

    Jobs name themselves with their users' words; these may neither recolour, nor move, nor hide what
    somebody else's terminal shows.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def styled(text: str, colour: str) -> str:
    """Returns the text in a colour, if stdout is a terminal that shows colours (https://no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return typer.style(text, fg=colour)


def job_as_dict(job: job_pb2.Job) -> dict[str, object]:
    """Returns a job in the protobuf JSON mapping (https://protobuf.dev/programming-guides/json/).

    Fields without presence are there even when they are 0 or empty, so that a program finds `maxIOBPS`
    and `args` in each job; int64 values are strings, as the mapping has it.
    """
    return MessageToDict(job, always_print_fields_with_no_presence=True)


def print_job_json(job: job_pb2.Job) -> None:
    """Prints one job as a JSON object."""
    print(json.dumps(job_as_dict(job), indent=2))


def print_jobs_json(jobs: Sequence[job_pb2.Job]) -> None:
    """Prints jobs as a JSON array."""
    print(json.dumps([job_as_dict(job) for job in jobs], indent=2))
