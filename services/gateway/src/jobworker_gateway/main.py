"""The command `jobworker-gateway`."""

import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jobworkerd.settings.resolve import SettingsError

app = typer.Typer(
    name="jobworker-gateway",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        print(f"jobworker-gateway {version('jobworker-gateway')}")
        raise typer.Exit


@app.command()
def serve(  # noqa: PLR0913 - one parameter per flag
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file with settings. [default: /etc/job-worker/gateway.toml if it exists]",
        ),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Listen address. [default: 0.0.0.0:50051]")
    ] = None,
    certs_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            resolve_path=True,
            help="Directory containing ca.pem, server.pem, server-key.pem, and the certificate for nodes in "
            "gateway.pem and gateway-key.pem. [default: /opt/job-worker/certs]",
        ),
    ] = None,
    archive: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of the final jobs and the logins: sqlite:FILE for one gateway, "
            "postgresql://USER@HOST/DATABASE for several. "
            "[default: sqlite:/var/lib/jobworker-gateway/archive.sqlite]",
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            resolve_path=True,
            help="File with the address of Kubernetes and the credentials of the gateway. "
            "[default: the service account of the Pod]",
        ),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="Namespace of the jobs. [default: jobworker]")
    ] = None,
    logging_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="Lowest level in the gateway's log: debug, info, warning or error. [default: info]",
        ),
    ] = None,
    logging_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Format of the gateway's log: auto, json or console; auto is console on a terminal. "
            "[default: auto]",
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Serve the API of jobworkerd for the jobs of a cluster.

    Flags take precedence over environment variables (JOBWORKER_GATEWAY_LISTEN, …), and these over the file.
    Only the most common settings have flags.
    """
    from jobworker_gateway.settings import resolve
    from jobworkerd.rpc_server import environment

    flags = {
        "listen": listen,
        "certs_dir": _text(certs_dir),
        "archive": archive,
        "kubeconfig": _text(kubeconfig),
        "namespace": namespace,
        "logging.level": logging_level,
        "logging.format": logging_format,
    }
    try:
        settings = resolve(config, os.environ, flags)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    # Before gRPC is imported, which takes a large part of a second.
    environment.prepare()
    from jobworker_gateway import process

    raise typer.Exit(process.run(settings))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="jobworker-gateway")
