"""Jobs for programs: the protobuf JSON mapping."""

import json
from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict

from jobworker.v1 import job_pb2

__all__ = ["print_job", "print_jobs"]


def print_job(job: job_pb2.Job) -> None:
    """Prints one job as a JSON object."""
    print(json.dumps(_as_dict(job), indent=2))


def print_jobs(jobs: Sequence[job_pb2.Job]) -> None:
    """Prints jobs as a JSON array."""
    print(json.dumps([_as_dict(job) for job in jobs], indent=2))


def _as_dict(job: job_pb2.Job) -> dict[str, object]:
    """Returns a job in the protobuf JSON mapping (https://protobuf.dev/programming-guides/json/).

    Fields without presence are there even when they are 0 or empty, so that a program finds `maxIOBPS`
    and `args` in each job; int64 values are strings, as the mapping has it.
    """
    return MessageToDict(job, always_print_fields_with_no_presence=True)
