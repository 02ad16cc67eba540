"""`jobworker context`: named servers, and which of them the other verbs talk to."""

from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.examples import epilog

__all__ = ["app"]

Name = Annotated[str, typer.Argument(metavar="NAME", help="The context.")]
File = Annotated[Path | None, typer.Option(help="As the option before the verb.")]
Text = Annotated[str | None, typer.Option(metavar="TEXT", help="As the option before the verb.")]

app = typer.Typer(
    help="Name servers, and choose the one that the other verbs talk to.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog=epilog("add"))
def add(  # noqa: PLR0913 - a parameter an option
    name: Name,
    *,
    server: Text = None,
    certs: File = None,
    role: Text = None,
    ca: File = None,
    cert: File = None,
    key: File = None,
    server_name: Text = None,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
) -> None:
    """Add a context, or put it in the place of the one of that name.

    What it does not name is left to the environment and the defaults. A key that others can read is
    refused.
    """
    from jobworker_cli.actions.context import add_context

    given = {
        "server": server,
        "certs": certs,
        "role": role,
        "ca": ca,
        "cert": cert,
        "key": key,
        "server_name": server_name,
    }
    add_context(name, given, use=use)


@app.command(epilog=epilog("use"))
def use(name: Name) -> None:
    """Use a context from now on."""
    from jobworker_cli.actions.context import use_context

    use_context(name)


@app.command("list")
def list_contexts() -> None:
    """List the contexts; the one in use has a star."""
    from jobworker_cli.actions.context import show_contexts

    show_contexts()


@app.command(epilog=epilog("show"))
def show(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Default: the one in use.")] = None,
) -> None:
    """Show what the other verbs take, and where each value comes from."""
    from jobworker_cli.actions.context import show_settings

    show_settings(ctx.find_root(), name)
