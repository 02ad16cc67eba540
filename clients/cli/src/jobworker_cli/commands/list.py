"""`jobworker list`: list jobs, newest first."""

import sys
from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.filter_options import FilterOptions
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import OutputFormat, Quiet, parse_duration_option, with_options

__all__ = ["list_jobs"]


@with_options(FilterOptions)
def list_jobs(  # noqa: PLR0913 - one parameter per option
    ctx: typer.Context,
    *,
    options: FilterOptions,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Maximum number of jobs.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the newest jobs and each change, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            show_default="200ms",
            help="Minimum time between two updates of --watch.",
        ),
    ] = timedelta(milliseconds=200),
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """List jobs, newest first."""
    from jobworker_cli.actions import list as action

    job_filter = action.parse_filter(options)
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
