"""The command `jobworkerd-dashboard`: the dashboard that several users share."""

import asyncio
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from jobworker_dashboard.settings import InvalidSettings, Settings, read_file

app = typer.Typer(
    name="jobworkerd-dashboard",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "JOBWORKERD_DASHBOARD"},
)

_DIRECTORY = Path("/opt/job-worker/certs")


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        print(f"jobworkerd-dashboard {version('jobworker-dashboard')}")
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
    url: Annotated[str, typer.Option(help="Address that browsers open, such as https://jobs.example.org.")],
    config: Annotated[
        Path | None,
        typer.Option(callback=_use_file, is_eager=True, help="TOML file with the other options as keys."),
    ] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Listen address.")] = "127.0.0.1:8080",
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Certificate for browsers, with its issuers (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of that certificate (PEM).")] = None,
    server: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Address of the server, or of the gateways of a cluster.")
    ] = "localhost:50051",
    server_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name that the server's certificate must contain.")
    ] = "",
    ca: Annotated[Path, typer.Option(help="CA file of the server (PEM).")] = _DIRECTORY / "ca.pem",
    certificate: Annotated[Path, typer.Option(help="Certificate with the role Delegate (PEM).")] = _DIRECTORY
    / "dashboard.pem",
    key: Annotated[Path, typer.Option(help="Key of that certificate (PEM).")] = _DIRECTORY
    / "dashboard-key.pem",
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Serve the jobs of a server to the browsers of its users.

    Users log in with `jobworker dashboard login --url URL`. The dashboard then calls the server with their
    roles. Each option can also be set by a variable, such as JOBWORKERD_DASHBOARD_LISTEN.
    """
    del config
    try:
        settings = Settings.parse(listen, url, tls_certificate, tls_key)
    except InvalidSettings as error:
        raise typer.BadParameter(str(error)) from error
    # The C core of gRPC logs failed connections, which the pages report. It reads the variable on import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from jobworker_client import ClientConfig
    from jobworker_client.errors import ConfigError
    from jobworker_dashboard import shared_dashboard

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    client = ClientConfig(server=server, ca=ca, cert=certificate, key=key, server_name=server_name)
    try:
        asyncio.run(shared_dashboard.serve(settings, client))
    except (InvalidSettings, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="jobworkerd-dashboard")
