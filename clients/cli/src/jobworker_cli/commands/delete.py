"""`jobworker delete`: delete jobs that have ended."""

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import FinalJobRefs

__all__ = ["delete"]


def delete(ctx: typer.Context, jobs: FinalJobRefs) -> None:
    """Delete ended jobs: their records and their output (Admin only).

    Prints the id of each deleted job. If a job cannot be deleted, deletes the others and exits with 1.
    """
    from jobworker_cli.actions.delete import delete_jobs

    execute(ctx, lambda client: delete_jobs(client, jobs))
