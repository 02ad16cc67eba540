"""`jobworker list`: list jobs, newest first."""

import enum
import sys
from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import OutputFormat, Quiet, parse_duration_option

__all__ = ["list_jobs"]


class Status(enum.StrEnum):
    """Values of `--status`."""

    QUEUED = "queued"
    INITIALIZING = "initializing"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


def list_jobs(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    status: Annotated[
        list[Status] | None,
        typer.Option(
            "--status",
            "-s",
            case_sensitive=False,
            help="Status of the listed jobs. Can be repeated: any of them.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            "-l",
            metavar="KEY=VALUE",
            help="Label of the listed jobs. Can be repeated: all of them.",
        ),
    ] = None,
    owner: Annotated[
        str,
        typer.Option(
            metavar="SUBJECT", help="Owner of the listed jobs: a certificate's subject, as `get` prints it."
        ),
    ] = "",
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only jobs created at this time or later: a duration before now (5m) or a time (RFC 3339).",
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs created before this time, as in --since.")
    ] = None,
    command: Annotated[
        str, typer.Option(metavar="TEXT", help="Text in the command line of the listed jobs.")
    ] = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Maximum number of jobs.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the newest jobs and refresh them, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            show_default="2s",
            help="Refresh interval of --watch.",
        ),
    ] = timedelta(seconds=2),
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """List jobs, newest first."""
    from jobworker_cli.actions import list as action

    job_filter = action.parse_filter(
        [each.name for each in status or ()],
        label or (),
        owner=owner,
        since=since,
        until=until,
        command=command,
    )
    output = Format.ID if quiet else output
    if watch:
        from jobworker_cli.actions.watch import watch_jobs

        if output not in {Format.TABLE, Format.WIDE} or not sys.stdout.isatty():
            raise typer.BadParameter(
                "only works with a table on a terminal; omit -o and -q, and do not redirect stdout",
                param_hint="--watch",
            )
        execute(ctx, lambda client: watch_jobs(client, job_filter, limit, output, interval), output=output)
    execute(ctx, lambda client: action.list_jobs(client, job_filter, limit, output), output=output)
