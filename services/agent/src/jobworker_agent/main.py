"""The command `jobworker-agent`."""

from importlib.metadata import version
from typing import Annotated

import typer

app = typer.Typer(
    name="jobworker-agent",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "JOBWORKER_AGENT"},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        print(f"jobworker-agent {version('jobworker-agent')}")
        raise typer.Exit


@app.command()
def serve(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Make this host a node of a cluster."""


def main() -> None:
    """Run the command."""
    app()
