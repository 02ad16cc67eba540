"""Shell completion of job ids. Queries the server with a short deadline, and prints no errors."""

import os
from collections.abc import Iterable

import typer

__all__ = ["complete_final_job", "complete_job", "complete_running_job"]

# Seconds. The user waits at the prompt.
DEADLINE = 2.0

# One screen of ids, newest first.
CANDIDATES = 50

Completion = list[tuple[str, str]]
"""Pairs of an id and the status of its job."""


def complete_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the job ids with a prefix, and the statuses of the jobs."""
    return _job_ids(ctx, incomplete)


def complete_running_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the ids of queued and running jobs with a prefix."""
    return _job_ids(ctx, incomplete, "QUEUED", "RUNNING")


def complete_final_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Return the ids of ended jobs with a prefix."""
    return _job_ids(ctx, incomplete, "COMPLETED", "FAILED", "STOPPED", "LOST")


def _job_ids(ctx: typer.Context, incomplete: str, *statuses: str) -> Completion:
    # Log messages of gRPC would appear in the middle of the command line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return _query(ctx, incomplete, statuses)
    except Exception:  # noqa: BLE001 - an error message would disturb the command line
        return []


def _query(ctx: typer.Context, incomplete: str, statuses: Iterable[str]) -> Completion:
    from jobworker_cli.results import status_name
    from jobworker_cli.settings.connect import FULL_ID, client_config
    from jobworker_cli.settings.resolve import connection_settings
    from jobworker_client import JobFilter, JobStatus, SyncClient

    job_filter = JobFilter(
        id_prefix=incomplete.lower(),
        statuses=[JobStatus.Value(f"JOB_STATUS_{status}") for status in statuses],
    )
    config = client_config(connection_settings(ctx.find_root()))
    with SyncClient(config, deadline=DEADLINE) as client:
        jobs = list(client.list(limit=CANDIDATES, **job_filter))
    # Shells evaluate completions, so they must not contain text from users, such as the command.
    return [(job.id, status_name(job)) for job in jobs if FULL_ID.fullmatch(job.id)]
