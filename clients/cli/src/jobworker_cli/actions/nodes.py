"""`jobworker nodes`: print the nodes of a cluster."""

from jobworker_cli.output import Format
from jobworker_cli.render.error_messages import to_cli_error
from jobworker_cli.render.formats import print_nodes
from jobworker_client import Client, JobWorkerError

__all__ = ["show_nodes"]


async def show_nodes(client: Client, output: Format) -> int:
    """Print the nodes.

    Raises:
        CliError: the server is a single host.
    """
    try:
        nodes = [node async for node in client.list_nodes()]
    except JobWorkerError as error:
        if error.code != "UNIMPLEMENTED":
            raise
        converted = to_cli_error(error, hint="select the gateway of a cluster with --server or --context")
        converted.message = f"{client.config.server} is a single host; only a gateway has nodes"
        raise converted from error
    print_nodes(nodes, output)
    return 0
