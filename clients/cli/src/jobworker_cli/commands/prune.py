"""`jobworker prune`: delete jobs that ended long ago."""

from typing import Annotated

import typer

from jobworker_cli.settings.filter_options import FinalStatus, Labels, status_option
from jobworker_cli.settings.invocation import execute

__all__ = ["prune"]


def prune(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    older_than: Annotated[
        str,
        typer.Option(
            metavar="AGE", help="Minimum time since the end of the jobs, such as 7d, or a time (RFC 3339)."
        ),
    ],
    status: Annotated[list[FinalStatus] | None, status_option("all final statuses")] = None,
    label: Labels = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the ids of these jobs, and delete none.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
) -> None:
    """Delete jobs that ended long ago (Admin only).

    Deletes their records and their output. Says how many jobs and how much output that is, and asks first.
    Prints the id of each deleted job.
    """
    from jobworker_cli.actions import prune as action

    ended = action.parse_ended_jobs(older_than, status or FinalStatus, label or ())
    if dry_run:
        execute(ctx, lambda client: action.show_ended(client, ended))
    execute(ctx, lambda client: action.prune(client, ended, confirmed=yes))
