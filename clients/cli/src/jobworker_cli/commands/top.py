"""`jobworker top`: what the running jobs use."""

from datetime import timedelta
from typing import Annotated

import typer

from jobworker_cli.render.screen import is_live
from jobworker_cli.settings.call import execute
from jobworker_cli.settings.options import Interval

__all__ = ["top"]


def top(
    ctx: typer.Context,
    *,
    interval: Interval = timedelta(seconds=1),
    once: Annotated[
        bool, typer.Option("--once", help="Print one table, as without a terminal, and end.")
    ] = False,
) -> None:
    """Show the running jobs live: CPU, memory and its limit, I/O, age. Ctrl-C ends it.

    The CPU is in percent of one core, the rates are those of the last interval.
    """
    from jobworker_cli.actions.top import show_top, watch_top

    show = show_top if once or not is_live() else watch_top
    execute(ctx, lambda client: show(client, interval))
