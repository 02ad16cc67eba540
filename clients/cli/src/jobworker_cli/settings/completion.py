"""Completion of job ids in the shell. It asks the server, has little time, and says nothing if that fails."""

import os

import typer

__all__ = ["complete_job", "complete_running_job"]

# In seconds: somebody waits for it with a key pressed.
DEADLINE = 2.0

# As many as fit on a screen; the newest come first.
CANDIDATES = 50

Completion = list[tuple[str, str]]


def complete_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Returns the ids that begin like this, each with its job's status."""
    return _jobs(ctx, incomplete, running=False)


def complete_running_job(ctx: typer.Context, incomplete: str) -> Completion:
    """Returns those of jobs that run."""
    return _jobs(ctx, incomplete, running=True)


def _jobs(ctx: typer.Context, incomplete: str, *, running: bool) -> Completion:
    # What gRPC has to say would stand in the middle of the user's line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return _ask(ctx, incomplete, running=running)
    except Exception:  # noqa: BLE001 - whatever it is, a line that is being written is no place for it
        return []


def _ask(ctx: typer.Context, incomplete: str, *, running: bool) -> Completion:
    from jobworker_cli.results import status_name
    from jobworker_cli.settings.connect import FULL_ID, target_of
    from jobworker_cli.settings.resolve import settings_of
    from jobworker_client import JobFilter, JobStatus, SyncClient

    which = JobFilter(id_prefix=incomplete.lower())
    if running:
        which["statuses"] = [JobStatus.JOB_STATUS_RUNNING]
    with SyncClient(target_of(settings_of(ctx.find_root())), deadline=DEADLINE) as client:
        jobs = list(client.list(limit=CANDIDATES, **which))
    # Shells evaluate what they get: no word of a user's, such as the command, may be in it.
    return [(job.id, status_name(job)) for job in jobs if FULL_ID.fullmatch(job.id)]
