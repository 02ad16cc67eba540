"""`jobworker nodes`: show the nodes of a cluster."""

import typer

from jobworker_cli.output import Format
from jobworker_cli.settings.invocation import execute
from jobworker_cli.settings.options import OutputFormat, Quiet

__all__ = ["nodes"]


def nodes(ctx: typer.Context, *, quiet: Quiet = False, output: OutputFormat = Format.TABLE) -> None:
    """Show the nodes of a cluster, by name.

    CPU, memory and jobs are what the cluster has assigned to jobs, of what the node has. CPU is in percent
    of one core. -o wide adds the address, the labels and the conditions. With -q and -o id, the ids are the
    names. Only a gateway has nodes.
    """
    from jobworker_cli.actions.nodes import show_nodes

    output = Format.ID if quiet else output
    execute(ctx, lambda client: show_nodes(client, output), output=output)
