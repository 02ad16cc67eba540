"""Print jobs and nodes in the format of `-o`."""

import json
import sys
from collections.abc import Sequence

from google.protobuf.message import Message

from jobworker.v1 import cluster_service_pb2, job_pb2
from jobworker_cli.output import Format, printable
from jobworker_cli.render.node_table import nodes_table
from jobworker_cli.render.tables import jobs_table
from jobworker_cli.render.views import final_line, job_details

__all__ = ["print_final_job", "print_final_jobs", "print_job", "print_jobs", "print_nodes"]


def print_job(job: job_pb2.Job, output: Format) -> None:
    """Print all fields of one job; JSON is an object."""
    match output:
        case Format.ID:
            print(job.id)
        case Format.JSON:
            print(json.dumps(_as_dict(job), indent=2))
        case Format.JSONL:
            print(json.dumps(_as_dict(job)))
        case Format.TABLE | Format.WIDE:
            print(job_details(job))


def print_jobs(jobs: Sequence[job_pb2.Job], output: Format) -> None:
    """Print a list of jobs; JSON is an array."""
    match output:
        case Format.JSON:
            print(json.dumps([_as_dict(job) for job in jobs], indent=2))
        case Format.TABLE | Format.WIDE:
            print(jobs_table(jobs, wide=output is Format.WIDE))
        case Format.JSONL | Format.ID:
            for job in jobs:
                print_job(job, output)


def print_nodes(nodes: Sequence[cluster_service_pb2.Node], output: Format) -> None:
    """Print a list of nodes; JSON is an array, and the id of a node is its name."""
    match output:
        case Format.ID:
            for node in nodes:
                print(printable(node.name))
        case Format.JSON:
            print(json.dumps([_as_dict(node) for node in nodes], indent=2))
        case Format.JSONL:
            for node in nodes:
                print(json.dumps(_as_dict(node)))
        case Format.TABLE | Format.WIDE:
            print(nodes_table(nodes, wide=output is Format.WIDE))


def print_final_job(job: job_pb2.Job, output: Format) -> None:
    """Print one of several jobs when it ends, except in a JSON array."""
    if output in {Format.TABLE, Format.WIDE}:
        print(final_line(job), flush=True)
    elif output is not Format.JSON:
        print_job(job, output)
        sys.stdout.flush()


def print_final_jobs(jobs: Sequence[job_pb2.Job], output: Format) -> None:
    """Print the JSON array of all ended jobs; `print_final_job` has printed the other formats."""
    if output is Format.JSON:
        print_jobs(jobs, output)


def _as_dict(message: Message) -> dict[str, object]:
    """Return a message in the protobuf JSON mapping (https://protobuf.dev/programming-guides/json/).

    Fields without presence are included even if they are 0 or empty, so that programs find `maxIOBPS` and
    `args` in every job. The mapping writes int64 values as strings.
    """
    # Importing json_format takes longer than printing a table.
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, always_print_fields_with_no_presence=True)
