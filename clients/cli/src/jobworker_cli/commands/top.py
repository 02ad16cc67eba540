"""`jobworker top`: show the usage of the running jobs."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.render.screen import is_terminal
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import Interval

__all__ = ["top"]


def top(
    ctx: typer.Context,
    *,
    interval: Interval = timedelta(seconds=1),
    once: Annotated[
        bool, typer.Option("--once", help="Print one table and exit. Default without a terminal")
    ] = False,
) -> None:
    """Show the usage of the running jobs, until Ctrl-C.

    CPU is in percent of one core. Rates cover the last interval. Memory is shown with its limit.
    """
    from jobworker_cli.actions.top import show_top, watch_top

    show = show_top if once or not is_terminal() else watch_top
    execute(ctx, lambda client: show(client, interval))
