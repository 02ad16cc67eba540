"""`jobworker stats`: show the usage of one job."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import Interval, JobRef

__all__ = ["stats"]


def stats(
    ctx: typer.Context,
    job: JobRef,
    *,
    interval: Interval = timedelta(seconds=1),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the job ends.")] = False,
) -> None:
    """Show the current and the total usage of a job.

    With -f, a terminal is updated in place; otherwise there is one line per interval. An ended job only has
    totals.
    """
    from jobworker_cli.actions.stats import follow_stats, show_stats

    show = follow_stats if follow else show_stats
    execute(ctx, lambda client: show(client, job, interval))
