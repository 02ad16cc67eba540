"""The command `jobworker`: its global options and its verbs."""

import io
import os
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.commands.context import app as contexts_app
from jobworker_cli.commands.create import create
from jobworker_cli.commands.get import get
from jobworker_cli.commands.list import list_jobs
from jobworker_cli.commands.run import run
from jobworker_cli.commands.stats import stats
from jobworker_cli.commands.stop import stop
from jobworker_cli.commands.stream import stream
from jobworker_cli.commands.top import top
from jobworker_cli.commands.update import update
from jobworker_cli.commands.wait import wait
from jobworker_cli.examples import epilog
from jobworker_cli.output import say
from jobworker_cli.settings.options import COMMAND_SETTINGS, duration_option, is_unicode

__all__ = ["app", "main"]

# \b keeps a paragraph's lines as they are.
EPILOG = """\b
Exit codes:
  0    done; for run, stream and wait: the job exited with 0
  1    the call failed (create, get, list, stop, update, top, stats)
  2    the command line is wrong
  124  the job ran into its timeout (run, stream, wait; not with --preserve-status)
  125  the server or the connection failed (run, stream, wait)
  126  the command cannot be executed (run)
  127  there is no such command (run)
  130  Ctrl-C
  else the job's own exit code, or 128 + N if signal N ended it (run, stream, wait)
"""

app = typer.Typer(
    name="jobworker",
    help="Create, follow and stop jobs of a jobworkerd server.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Role(StrEnum):
    """The roles that a folder of certificates has a pair of files for."""

    ADMIN = "admin"
    VIEWER = "viewer"


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        print(f"jobworker {version('jobworker-cli')}")
        raise typer.Exit


@app.callback()
def settings(  # noqa: PLR0913 - a parameter an option
    *,
    server: Annotated[
        str, typer.Option(envvar="JOBWORKER_SERVER", metavar="HOST:PORT", help="The server.")
    ] = "localhost:50051",
    certs: Annotated[
        Path,
        typer.Option(envvar="JOBWORKER_CERTS", help="The folder with ca.pem, ROLE.pem and ROLE-key.pem."),
    ] = Path("/opt/job-worker/certs"),
    role: Annotated[
        Role, typer.Option(envvar="JOBWORKER_ROLE", help="The certificate to take from that folder.")
    ] = Role.ADMIN,
    ca: Annotated[
        Path | None, typer.Option(envvar="JOBWORKER_CA", help="The CA of the server's certificate.")
    ] = None,
    cert: Annotated[Path | None, typer.Option(envvar="JOBWORKER_CERT", help="Our certificate.")] = None,
    key: Annotated[Path | None, typer.Option(envvar="JOBWORKER_KEY", help="Our certificate's key.")] = None,
    server_name: Annotated[
        str | None,
        typer.Option(
            envvar="JOBWORKER_SERVER_NAME",
            metavar="NAME",
            help="The name that the server's certificate must have, if not HOST.",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The context to take, before the environment: see `context`."),
    ] = None,
    timeout: Annotated[
        timedelta,
        typer.Option(
            parser=duration_option,
            metavar="DURATION",
            show_default="30s",
            help="How long a call may take; stop, stream and wait take as long as the job does.",
        ),
    ] = timedelta(seconds=30),
    debug: Annotated[bool, typer.Option("--debug", help="Show where errors come from.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Takes the options before the verb."""
    # gRPC's C core logs failed connections by itself; the sentence about them is ours to write. It looks
    # at the variable when it is imported, which the verb does.
    os.environ.setdefault("GRPC_VERBOSITY", "INFO" if debug else "NONE")
    # `settle` reads the others off the root's context, where a verb needs them.
    del server, certs, role, ca, cert, key, server_name, context, timeout


app.command(context_settings=COMMAND_SETTINGS, epilog=epilog("create"))(create)
app.command(epilog=epilog("get"))(get)
app.command("list", epilog=epilog("list"))(list_jobs)
app.command(epilog=epilog("stop"))(stop)
app.command(epilog=epilog("stream"))(stream)
app.command(context_settings=COMMAND_SETTINGS, epilog=epilog("run"))(run)
app.command(epilog=epilog("wait"))(wait)
app.command(epilog=epilog("update"))(update)
app.command(epilog=epilog("top"))(top)
app.command(epilog=epilog("stats"))(stats)
app.add_typer(contexts_app, name="context")


def open_closed_streams() -> None:
    """Makes what we would write to a stream that our parent closed (`jobworker list >&-`) go nowhere.

    The descriptor is taken, too: else the connection to the server could get it.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


def main() -> None:
    """Runs the command line of this process."""
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of another encoding shows what it cannot as `\u2026`, rather than an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    for word in sys.argv[1:]:
        if not is_unicode(word):
            # Such bytes can be in names of files; the API's strings cannot hold them.
            say(f"error: {word!r} is not UTF-8, and the API takes nothing else")
            sys.exit(2)
    try:
        app(prog_name="jobworker")
    except RuntimeError as error:
        # typer writes the completion below the home directory.
        if "home directory" not in str(error):
            raise
        say("error: completion needs a home directory; set HOME")
        sys.exit(1)


if __name__ == "__main__":
    main()
