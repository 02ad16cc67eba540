"""The command `jobworker-agent`: makes the host a node of a cluster."""

import asyncio
import os
import sys
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jobworker_agent.settings import (
    InvalidSettings,
    Settings,
    host_address,
    metrics_address,
    node_identity,
    read_file,
)

app = typer.Typer(
    name="jobworker-agent",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "JOBWORKER_AGENT"},
)


class LimitsPolicy(StrEnum):
    """The limits that a host must enforce to be a ready node."""

    strict = "strict"
    best_effort = "best_effort"


class LogLevel(StrEnum):
    """Levels of the log."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class LogFormat(StrEnum):
    """Formats of the log."""

    auto = "auto"
    json = "json"
    console = "console"


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        print(f"jobworker-agent {version('jobworker-agent')}")
        raise typer.Exit


def _use_file(ctx: typer.Context, path: Path | None) -> Path | None:
    """Let the settings in the file replace the defaults of the options."""
    if path is not None:
        try:
            ctx.default_map = read_file(path)
        except InvalidSettings as error:
            raise typer.BadParameter(str(error)) from error
    return path


@app.command()
def serve(  # noqa: PLR0913 - one parameter per setting
    *,
    config: Annotated[
        Path | None,
        typer.Option(callback=_use_file, is_eager=True, help="TOML file with the other options as keys."),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of this host's jobworkerd for gateways. Default: that of --server.",
        ),
    ] = "",
    node: Annotated[str, typer.Option(metavar="NAME", help="Name of the Node. Default: the host name.")] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Label of the Node, for node selectors. Repeatable."),
    ] = None,
    max_cpu: Annotated[
        int, typer.Option(help="CPU for jobs, in percent of one core. 0 = that of the host.")
    ] = 0,
    max_memory: Annotated[int, typer.Option(help="Memory for jobs, in MiB. 0 = that of the host.")] = 0,
    max_jobs: Annotated[int, typer.Option(help="Maximum number of jobs. 0 = that of the host.")] = 0,
    limits_policy: Annotated[
        LimitsPolicy,
        typer.Option(
            help="`strict` = the Node is not ready while the host cannot enforce the limits of jobs. "
            "`best_effort` = jobs run without the limits that the host cannot enforce."
        ),
    ] = LimitsPolicy.strict,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="Access to Kubernetes. Default: the service account of the Pod of the agent."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace of the jobs.")] = "jobworker",
    server: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of jobworkerd for the agent.")
    ] = "localhost:50051",
    server_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name that the certificate of jobworkerd must contain.")
    ] = "",
    certs_dir: Annotated[
        Path, typer.Option(help="Directory containing ca.pem, gateway.pem and gateway-key.pem.")
    ] = Path("/opt/job-worker/certs"),
    metrics_listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Loopback address of the Prometheus endpoint, such as 127.0.0.1:9465. Default: no endpoint.",
        ),
    ] = "",
    log_level: Annotated[LogLevel, typer.Option(help="Least severe level of the log.")] = LogLevel.info,
    log_format: Annotated[
        LogFormat, typer.Option(help="Format of the log. `auto` = JSON unless stderr is a terminal.")
    ] = LogFormat.auto,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Make this host a node of a Kubernetes cluster, whose Pods are jobs of the local jobworkerd.

    A signal ends the agent, but not the jobs. Each option can also be set by a variable, such as
    JOBWORKER_AGENT_SERVER.
    """
    del config
    try:
        address_of_server = host_address(server, server_name, certs_dir)
        settings = Settings(
            identity=node_identity(
                node,
                address or server,
                label or [],
                {"max_cpu": max_cpu, "max_memory": max_memory, "max_jobs": max_jobs},
                requires_limits=limits_policy is LimitsPolicy.strict,
            ),
            server=address_of_server,
            kubeconfig=kubeconfig,
            namespace=namespace,
            metrics_listen=metrics_address(metrics_listen),
        )
    except InvalidSettings as error:
        raise typer.BadParameter(str(error)) from error
    # The C core of gRPC logs failed connections, which the agent reports. It reads the variable on import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _run(settings, log_level.value, log_format.value)


def _run(settings: Settings, log_level: str, log_format: str) -> None:
    # Imported here, because --help needs none of it.
    from jobworker_agent import agent, log_setup
    from jobworker_cluster.access import InvalidKubeconfig

    listener = log_setup.configure(log_level, log_format)
    try:
        asyncio.run(agent.serve(settings))
    except (OSError, InvalidKubeconfig) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except ExceptionGroup as error:
        raise typer.Exit(1) from error
    finally:
        listener.stop()


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="jobworker-agent")
