"""The command `jobworker`: global options and subcommands."""

import io
import os
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.commands.attach import attach
from jobworker_cli.commands.context import app as contexts_app
from jobworker_cli.commands.create import create
from jobworker_cli.commands.dashboard import app as dashboard_app
from jobworker_cli.commands.delete import delete
from jobworker_cli.commands.get import get
from jobworker_cli.commands.known_names import JobWorkerGroup
from jobworker_cli.commands.list import list_jobs
from jobworker_cli.commands.nodes import nodes
from jobworker_cli.commands.prune import prune
from jobworker_cli.commands.queue import queue
from jobworker_cli.commands.record import record
from jobworker_cli.commands.run import run
from jobworker_cli.commands.stats import stats
from jobworker_cli.commands.stop import stop
from jobworker_cli.commands.stream import stream
from jobworker_cli.commands.top import top
from jobworker_cli.commands.update import update
from jobworker_cli.commands.wait import wait
from jobworker_cli.examples import epilog
from jobworker_cli.output import print_message
from jobworker_cli.settings.options import COMMAND_SETTINGS, is_unicode, parse_duration_option

__all__ = ["app", "main"]

# \b keeps the line breaks of a paragraph.
EPILOG = """\b
Exit codes:
  0    success; for run, attach, stream and wait: the job exited with 0
  1    the call failed (create, get, list, queue, nodes, stop, update, delete, prune, top, stats,
       dashboard)
  2    the command line is invalid
  124  the job exceeded its timeout or its queue timeout (run, attach, stream, wait; not with
       --preserve-status)
  125  the server or the connection failed, the job is LOST, or a queued job never ran for another
       reason than its command (run, attach, stream, wait, record); the cluster evicted the job (run,
       attach, stream, wait; not with --preserve-status); files were not copied (run)
  126  the command cannot be executed (run, attach, stream, wait)
  127  the command does not exist (run, attach, stream, wait)
  130  Ctrl-C
  else the exit code of the job, or 128 + N if signal N ended it
       (run, attach, stream, wait)
"""

app = typer.Typer(
    name="jobworker",
    cls=JobWorkerGroup,
    help="Start, follow and stop jobs on a jobworkerd server.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Role(StrEnum):
    """Roles whose files a certificates directory contains."""

    ADMIN = "admin"
    VIEWER = "viewer"


def _print_version(value: bool) -> None:  # noqa: FBT001 - called by typer
    if value:
        from importlib.metadata import version

        print(f"jobworker {version('jobworker-cli')}")
        raise typer.Exit


@app.callback()
def global_options(  # noqa: PLR0913 - one parameter per option
    *,
    server: Annotated[
        str, typer.Option(envvar="JOBWORKER_SERVER", metavar="HOST:PORT", help="Address of the server.")
    ] = "localhost:50051",
    certs: Annotated[
        Path,
        typer.Option(
            envvar="JOBWORKER_CERTS", help="Directory containing ca.pem, ROLE.pem and ROLE-key.pem."
        ),
    ] = Path("/opt/job-worker/certs"),
    role: Annotated[
        Role,
        typer.Option(
            envvar="JOBWORKER_ROLE", help="Role that selects the client certificate in that directory."
        ),
    ] = Role.ADMIN,
    ca: Annotated[
        Path | None, typer.Option(envvar="JOBWORKER_CA", help="CA file of the server (PEM).")
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(envvar="JOBWORKER_CERT", help="Client certificate file (PEM).")
    ] = None,
    key: Annotated[Path | None, typer.Option(envvar="JOBWORKER_KEY", help="Client key file (PEM).")] = None,
    server_name: Annotated[
        str | None,
        typer.Option(
            envvar="JOBWORKER_SERVER_NAME",
            metavar="NAME",
            help="Name that the server's certificate must contain. Default: HOST",
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Context to use; overrides the environment. See `jobworker context`."
        ),
    ] = None,
    timeout: Annotated[
        timedelta,
        typer.Option(
            parser=parse_duration_option,
            metavar="DURATION",
            show_default="30s",
            help="Timeout of each call; stop, stream and wait have none.",
        ),
    ] = timedelta(seconds=30),
    debug: Annotated[bool, typer.Option("--debug", help="Print tracebacks and the log of gRPC.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Apply the global options."""
    # The C core of gRPC logs failed connections, which this command reports itself. gRPC reads the variable
    # on import, so set it before the subcommand imports gRPC.
    os.environ.setdefault("GRPC_VERBOSITY", "INFO" if debug else "NONE")
    # `resolve_settings` reads the other options from the root context when a subcommand needs them.
    del server, certs, role, ca, cert, key, server_name, context, timeout


app.command(context_settings=COMMAND_SETTINGS, epilog=epilog("create"))(create)
app.command(epilog=epilog("get"))(get)
app.command("list", epilog=epilog("list"))(list_jobs)
app.command(epilog=epilog("queue"))(queue)
app.command(epilog=epilog("nodes"))(nodes)
app.command(epilog=epilog("stop"))(stop)
app.command(epilog=epilog("delete"))(delete)
app.command(epilog=epilog("prune"))(prune)
app.command(epilog=epilog("stream"))(stream)
app.command(context_settings=COMMAND_SETTINGS, epilog=epilog("run"))(run)
app.command(epilog=epilog("attach"))(attach)
app.command(epilog=epilog("record"))(record)
app.command(epilog=epilog("wait"))(wait)
app.command(epilog=epilog("update"))(update)
app.command(epilog=epilog("top"))(top)
app.command(epilog=epilog("stats"))(stats)
app.add_typer(contexts_app, name="context")
app.add_typer(dashboard_app, name="dashboard", epilog=epilog("dashboard"))


def open_closed_streams() -> None:
    """Open /dev/null in place of a stdout or stderr that the parent closed (`jobworker list >&-`).

    Otherwise the connection to the server could reuse the descriptor.
    """
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open until the process exits
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


def main() -> None:
    """Run the command line of this process."""
    open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal's encoding lacks is printed as `\u2026` instead of raising an error.
        sys.stdout.reconfigure(errors="backslashreplace")
    for word in sys.argv[1:]:
        if not is_unicode(word):
            # File names can contain such bytes, but strings of the API cannot.
            print_message(f"error: {word!r} is not UTF-8; the API only accepts UTF-8")
            sys.exit(2)
    try:
        app(prog_name="jobworker")
    except RuntimeError as error:
        # typer installs the completion in the home directory.
        if "home directory" not in str(error):
            raise
        print_message("error: completion needs a home directory; set HOME")
        sys.exit(1)


if __name__ == "__main__":
    main()
