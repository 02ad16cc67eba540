"""The command `jobworkerd-dashboard`."""

from importlib.metadata import version
from typing import Annotated

import typer

app = typer.Typer(
    name="jobworkerd-dashboard",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        print(f"jobworkerd-dashboard {version('jobworker-dashboard')}")
        raise typer.Exit


@app.command()
def serve(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Serve the dashboard."""


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="jobworkerd-dashboard")
