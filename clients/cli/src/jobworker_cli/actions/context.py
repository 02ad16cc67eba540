"""`jobworker context`: change or print the contexts."""

from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from jobworker_cli.errors import CliError, describe_os_error, print_error
from jobworker_cli.output import printable
from jobworker_cli.render.text_width import pad, text_width
from jobworker_cli.settings.contexts import Contexts, check_key_permissions, contexts_file
from jobworker_cli.settings.resolve import RootContext, resolve_settings

__all__ = ["add_context", "list_contexts", "show_settings", "use_context"]


def add_context(name: str, options: Mapping[str, str | Path | None], *, use: bool) -> None:
    """Add or replace a context with the given options."""
    values = {field: _to_text(value) for field, value in options.items() if value is not None}

    def change(contexts: Contexts) -> Contexts:
        if (key := _key_file(values)) is not None:
            check_key_permissions(key)
        changed = contexts.put(name, values)
        return changed.use(name) if use else changed

    _change(change)


def use_context(name: str) -> None:
    """Select the current context."""
    _change(lambda contexts: contexts.use(name))


def list_contexts() -> None:
    """Print the contexts and their servers."""

    def print_contexts(contexts: Contexts) -> None:
        for name in sorted(contexts.values):
            mark = "*" if name == contexts.current else " "
            server = contexts.values[name].get("server", "-")
            print(f"{mark} {printable(name)}  {printable(server)}")

    _with_contexts(print_contexts)


def show_settings(root: RootContext, name: str | None) -> None:
    """Print the settings of a subcommand and the source of each."""
    named: str | None = name or root.params["context"]

    def print_settings(contexts: Contexts) -> None:
        settings = resolve_settings(root, contexts, named)
        values = {field: printable(setting.value or "-") for field, setting in settings.items()}
        width = max(map(text_width, values.values()))
        for field, setting in settings.items():
            print(f"{field:<11}  {pad(values[field], width)}  {printable(setting.origin)}")

    _with_contexts(print_settings, required=named is not None)


def _to_text(value: str | Path) -> str:
    """Return a value for the file; a relative path becomes absolute."""
    return str(value.absolute()) if isinstance(value, Path) else value


def _key_file(values: Mapping[str, str]) -> Path | None:
    """Return the key of a context, which it names or which is in its directory."""
    if "key" in values:
        return Path(values["key"])
    return Path(values["certs"]) / f"{values.get('role', 'admin')}-key.pem" if "certs" in values else None


def _change(change: Callable[[Contexts], Contexts]) -> None:
    _with_contexts(lambda contexts: change(contexts).write(contexts_file()))


def _with_contexts(action: Callable[[Contexts], None], *, required: bool = True) -> None:
    """Load the contexts and call `action`; print a failure and exit with 1."""
    try:
        action(Contexts.load(required=required))
    except (CliError, OSError) as error:
        expected = error if isinstance(error, CliError) else CliError(describe_os_error(error))
        print_error(expected, as_json=False)
        raise typer.Exit(1) from None
