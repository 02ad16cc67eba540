"""A result in the form that `-o` asks for: for people, for programs, or ids alone."""

import json
import sys
from collections.abc import Sequence

from jobworker.v1 import job_pb2
from jobworker_cli.output import Format
from jobworker_cli.render.views import final_line, job_details, jobs_table

__all__ = ["print_endings", "print_job", "print_jobs", "tell_end"]


def print_job(job: job_pb2.Job, form: Format) -> None:
    """Prints everything about one job; as JSON it is an object."""
    match form:
        case Format.ID:
            print(job.id)
        case Format.JSON:
            print(json.dumps(_as_dict(job), indent=2))
        case Format.JSONL:
            print(json.dumps(_as_dict(job)))
        case Format.TABLE | Format.WIDE:
            print(job_details(job))


def print_jobs(jobs: Sequence[job_pb2.Job], form: Format) -> None:
    """Prints many jobs; as JSON they are an array."""
    match form:
        case Format.JSON:
            print(json.dumps([_as_dict(job) for job in jobs], indent=2))
        case Format.TABLE | Format.WIDE:
            print(jobs_table(jobs, wide=form is Format.WIDE))
        case Format.JSONL | Format.ID:
            for job in jobs:
                print_job(job, form)


def tell_end(job: job_pb2.Job, form: Format) -> None:
    """Prints one of several jobs as it ends, unless they are printed together once all of them have."""
    if form in {Format.TABLE, Format.WIDE}:
        print(final_line(job), flush=True)
    elif form is not Format.JSON:
        print_job(job, form)
        sys.stdout.flush()


def print_endings(jobs: Sequence[job_pb2.Job], form: Format) -> None:
    """Prints the jobs that have ended, unless each of them was printed as it did."""
    if form is Format.JSON:
        print_jobs(jobs, form)


def _as_dict(job: job_pb2.Job) -> dict[str, object]:
    """Returns a job in the protobuf JSON mapping (https://protobuf.dev/programming-guides/json/).

    Fields without presence are there even when they are 0 or empty, so that a program finds `maxIOBPS`
    and `args` in each job; int64 values are strings, as the mapping has it.
    """
    # Imported here: it takes longer than a table needs in all.
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(job, always_print_fields_with_no_presence=True)
