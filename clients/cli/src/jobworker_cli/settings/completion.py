"""Shell completion of job ids and node labels.

Queries the server with a short deadline, and prints no errors.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from jobworker_client import SyncClient

__all__ = ["complete_final_job", "complete_job", "complete_node_label", "complete_running_job"]

# Seconds. The user waits at the prompt.
DEADLINE = 2.0

# One screen of ids, newest first.
CANDIDATES = 50

# Shells evaluate completions, so they must not contain text from users, such as the command of a job.
LABEL = re.compile(r"[A-Za-z0-9._/-]+=[A-Za-z0-9._-]*")

Completion = list[tuple[str, str]]
"""Pairs of a word and its description: an id and the status of its job, or a label and nothing."""


def complete_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the job ids with a prefix, and the statuses of the jobs."""
    return _job_ids(ctx, incomplete)


def complete_running_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the ids of queued and running jobs with a prefix."""
    return _job_ids(ctx, incomplete, "QUEUED", "RUNNING")


def complete_final_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the ids of ended jobs with a prefix."""
    return _job_ids(ctx, incomplete, "COMPLETED", "FAILED", "STOPPED", "LOST")


def complete_node_label(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the labels of the nodes with a prefix, as `KEY=VALUE`."""

    def query(client: "SyncClient") -> Completion:
        labels = {f"{key}={value}" for node in client.list_nodes() for key, value in node.labels.items()}
        return [
            (each, "") for each in sorted(labels) if each.startswith(incomplete) and LABEL.fullmatch(each)
        ]

    return _ask(ctx, query)


def _job_ids(ctx: typer.Context, incomplete: str, *statuses: str) -> Completion:
    def query(client: "SyncClient") -> Completion:
        from jobworker_cli.results import status_name
        from jobworker_cli.settings.connect import FULL_ID
        from jobworker_client import JobFilter, JobStatus

        job_filter = JobFilter(
            id_prefix=incomplete.lower(),
            statuses=[JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
        )
        jobs = client.list(limit=CANDIDATES, **job_filter)
        return [(job.id, status_name(job)) for job in jobs if FULL_ID.fullmatch(job.id)]

    return _ask(ctx, query)


def _ask(ctx: typer.Context, query: "Callable[[SyncClient], Completion]") -> Completion:
    # Log messages of gRPC would appear in the middle of the command line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        with _connected(ctx) as client:
            return query(client)
    except Exception:  # noqa: BLE001 - an error message would disturb the command line
        return []


@contextlib.contextmanager
def _connected(ctx: typer.Context) -> "Iterator[SyncClient]":
    from jobworker_cli.settings.connect import client_config
    from jobworker_cli.settings.resolve import connection_settings
    from jobworker_client import SyncClient

    with SyncClient(client_config(connection_settings(ctx.find_root())), deadline=DEADLINE) as client:
        yield client
