"""The command `jobworkerd`. It reports each error as one sentence on stderr, without a traceback."""

import os
import sys
from typing import Annotated

import typer

from jobworkerd.certs.errors import CertificatesError
from jobworkerd.commands import certs, config, doctor, health, serve
from jobworkerd.settings.resolve import SettingsError

app = typer.Typer(
    name="jobworkerd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        # Imported here, because `serve` does not need it.
        from importlib.metadata import version

        typer.echo(f"jobworkerd {version('jobworker-worker')}")
        raise typer.Exit


@app.callback()
def global_options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Run commands on this host for remote clients, each in a cgroup with limits."""


app.command()(serve.serve)
app.add_typer(certs.app, name="certs", help="Create, renew and show certificates.")
app.command()(config.config)
app.command()(doctor.doctor)
app.command()(health.health)


def main() -> None:
    """Run the command line and exit with 0 on success, 1 on an error and 2 on wrong usage."""
    _open_standard_streams()
    try:
        app(prog_name="jobworkerd")
    except (SettingsError, CertificatesError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _open_standard_streams() -> None:
    """Open /dev/null for each closed standard stream, so that no later file gets its descriptor."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - the function has no keyword


def _fail(sentence: str) -> None:
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
