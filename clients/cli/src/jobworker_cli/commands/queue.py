"""`jobworker queue`: show the waiting jobs in the order of their starts."""

from typing import Annotated

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import OutputFormat, Quiet

__all__ = ["queue"]


def queue(
    ctx: typer.Context,
    *,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Maximum number of jobs.")] = None,
    quiet: Quiet = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show the queued jobs in the order in which they start.

    The order can change with each start and each end: see --priority of create, and the documentation of the
    service.
    """
    from jobworker_cli.actions.queue import show_queue

    output = Format.ID if quiet else output
    execute(ctx, lambda client: show_queue(client, limit, output), output=output)
