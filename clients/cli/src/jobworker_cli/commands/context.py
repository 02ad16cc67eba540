"""`jobworker context`: named servers, and which of them the other verbs talk to."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from jobworker_cli.contexts import FIELDS, Contexts, contexts_file, refuse_open_key
from jobworker_cli.errors import CliError, report
from jobworker_cli.examples import epilog
from jobworker_cli.output import printable
from jobworker_cli.settle import settle

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
    given = (server, certs, role, ca, cert, key, server_name)
    values = {field: _text(value) for field, value in zip(FIELDS, given, strict=True) if value is not None}

    def change(contexts: Contexts) -> Contexts:
        folder_key = certs / f"{role or 'admin'}-key.pem" if certs is not None else None
        if (own_key := key or folder_key) is not None:
            refuse_open_key(own_key)
        changed = contexts.put(name, values)
        return changed.use(name) if use else changed

    _change(change)


@app.command(epilog=epilog("use"))
def use(name: Name) -> None:
    """Use a context from now on."""
    _change(lambda contexts: contexts.use(name))


@app.command("list")
def list_contexts() -> None:
    """List the contexts; the one in use has a star."""

    def show(contexts: Contexts) -> None:
        for name in sorted(contexts.values):
            star = "*" if name == contexts.current else " "
            server = contexts.values[name].get("server", "-")
            print(f"{star} {printable(name)}  {printable(server)}")

    _with_contexts(show)


@app.command(epilog=epilog("show"))
def show(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Default: the one in use.")] = None,
) -> None:
    """Show what the other verbs take, and where each value comes from."""

    def show_settings(contexts: Contexts) -> None:
        root = ctx.find_root()
        found = settle(root, contexts, name or root.params["context"])
        width = max(len(setting.value) for setting in found.values())
        for field, setting in found.items():
            print(f"{field:<11}  {printable(setting.value or '-'):<{width}}  {printable(setting.origin)}")

    _with_contexts(show_settings)


def _text(value: str | Path) -> str:
    """Returns a value as the file has it: a path that means the same from any directory."""
    return str(value.absolute()) if isinstance(value, Path) else value


def _change(change: Callable[[Contexts], Contexts]) -> None:
    _with_contexts(lambda contexts: change(contexts).write(contexts_file()))


def _with_contexts(action: Callable[[Contexts], None]) -> None:
    """Reads the contexts and does something with them; a failure is told, and exits with 1."""
    try:
        action(Contexts.read(contexts_file()))
    except (CliError, OSError) as error:
        known = error if isinstance(error, CliError) else CliError(f"{error}")
        report(known, as_json=False)
        raise typer.Exit(1) from None
