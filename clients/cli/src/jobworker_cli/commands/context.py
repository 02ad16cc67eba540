"""`jobworker context`: manage named servers."""

from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.examples import epilog

__all__ = ["app"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the context.")]
File = Annotated[Path | None, typer.Option(help="Same as the global option.")]
Text = Annotated[str | None, typer.Option(metavar="TEXT", help="Same as the global option.")]

app = typer.Typer(
    help="Manage named servers and select the current one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog=epilog("add"))
def add(  # noqa: PLR0913 - one parameter per option
    name: Name,
    *,
    server: Text = None,
    certs: File = None,
    role: Text = None,
    ca: File = None,
    cert: File = None,
    key: File = None,
    server_name: Text = None,
    use: Annotated[bool, typer.Option("--use", help="Also select the context as the current one.")] = False,
) -> None:
    """Add or replace a context.

    The environment and the defaults supply the options that the context omits. The command refuses a key
    that other users can read.
    """
    from jobworker_cli.actions.context import add_context

    options = {
        "server": server,
        "certs": certs,
        "role": role,
        "ca": ca,
        "cert": cert,
        "key": key,
        "server_name": server_name,
    }
    add_context(name, options, use=use)


@app.command(epilog=epilog("use"))
def use(name: Name) -> None:
    """Select the current context."""
    from jobworker_cli.actions.context import use_context

    use_context(name)


@app.command("list")
def list_contexts() -> None:
    """List the contexts; a star marks the current one."""
    from jobworker_cli.actions import context

    context.list_contexts()


@app.command(epilog=epilog("show"))
def show(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the context. Default: the current one")
    ] = None,
) -> None:
    """Show the settings of a subcommand and the source of each."""
    from jobworker_cli.actions.context import show_settings

    show_settings(ctx.find_root(), name)
