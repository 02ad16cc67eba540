"""`jobworker stats`: what one job uses."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import Interval, JobRef

__all__ = ["stats"]


def stats(
    ctx: typer.Context,
    job: JobRef,
    *,
    interval: Interval = timedelta(seconds=1),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Show what a job uses now, and what it has used in all.

    With -f a terminal shows it live; elsewhere there is a line an interval. A job that has ended has
    its totals only.
    """
    from jobworker_cli.actions.stats import follow_stats, show_stats

    show = follow_stats if follow else show_stats
    execute(ctx, lambda client: show(client, job, interval))
