"""`jobworker list`: many jobs, newest first."""

import enum
import sys
from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import OutputFormat, Quiet, duration_option

__all__ = ["list_jobs"]


class Status(enum.StrEnum):
    """The statuses to choose from."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


def list_jobs(  # noqa: PLR0913 - a parameter an option
    ctx: typer.Context,
    *,
    status: Annotated[
        list[Status] | None,
        typer.Option("--status", "-s", case_sensitive=False, help="This status only. Can be given again."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", "-l", metavar="KEY=VALUE", help="Jobs with this label only. Again: with all."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="That many at most.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the newest again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        timedelta,
        typer.Option(parser=duration_option, metavar="DURATION", show_default="2s", help="How often."),
    ] = timedelta(seconds=2),
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """List all jobs with basic information, newest first."""
    from jobworker_cli.actions.list import job_filter, show_jobs

    which = job_filter([wanted.name for wanted in status or ()], label or ())
    form = Format.ID if quiet else output
    if watch:
        from jobworker_cli.actions.watch import watch_jobs

        if form not in {Format.TABLE, Format.WIDE} or not sys.stdout.isatty():
            raise typer.BadParameter("it shows a table, on a terminal", param_hint="--watch")
        execute(ctx, lambda client: watch_jobs(client, which, limit, form, interval), output=form)
    execute(ctx, lambda client: show_jobs(client, which, limit, form), output=form)
