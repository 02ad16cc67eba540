"""`jobworker context`: the file of contexts, changed or shown."""

from collections.abc import Callable, Mapping
from pathlib import Path

import typer

from jobworker_cli.errors import CliError, report
from jobworker_cli.output import printable
from jobworker_cli.render.cells import pad, width_of
from jobworker_cli.settings.contexts import Contexts, contexts_file, refuse_open_key
from jobworker_cli.settings.resolve import Root, settle

__all__ = ["add_context", "show_contexts", "show_settings", "use_context"]


def add_context(name: str, given: Mapping[str, str | Path | None], *, use: bool) -> None:
    """Writes a context with the values that are given."""
    values = {field: _text(value) for field, value in given.items() if value is not None}

    def change(contexts: Contexts) -> Contexts:
        if (key := _key(values)) is not None:
            refuse_open_key(key)
        changed = contexts.put(name, values)
        return changed.use(name) if use else changed

    _change(change)


def use_context(name: str) -> None:
    """Writes which context is in use."""
    _change(lambda contexts: contexts.use(name))


def show_contexts() -> None:
    """Prints the contexts and their servers."""

    def show(contexts: Contexts) -> None:
        for name in sorted(contexts.values):
            star = "*" if name == contexts.current else " "
            server = contexts.values[name].get("server", "-")
            print(f"{star} {printable(name)}  {printable(server)}")

    _with_contexts(show)


def show_settings(root: Root, name: str | None) -> None:
    """Prints what a verb would take, and where each value comes from."""
    named: str | None = name or root.params["context"]

    def show(contexts: Contexts) -> None:
        found = settle(root, contexts, named)
        values = {field: printable(setting.value or "-") for field, setting in found.items()}
        width = max(map(width_of, values.values()))
        for field, setting in found.items():
            print(f"{field:<11}  {pad(values[field], width)}  {printable(setting.origin)}")

    _with_contexts(show, required=named is not None)


def _text(value: str | Path) -> str:
    """Returns a value as the file has it: a path that means the same from any directory."""
    return str(value.absolute()) if isinstance(value, Path) else value


def _key(values: Mapping[str, str]) -> Path | None:
    """Returns the key that a context names, or its folder has."""
    if "key" in values:
        return Path(values["key"])
    return Path(values["certs"]) / f"{values.get('role', 'admin')}-key.pem" if "certs" in values else None


def _change(change: Callable[[Contexts], Contexts]) -> None:
    _with_contexts(lambda contexts: change(contexts).write(contexts_file()))


def _with_contexts(action: Callable[[Contexts], None], *, required: bool = True) -> None:
    """Reads the contexts and calls `action` with them; reports a failure and exits with 1."""
    try:
        action(Contexts.of_user(required=required))
    except (CliError, OSError) as error:
        known = error if isinstance(error, CliError) else CliError(f"{error}")
        report(known, as_json=False)
        raise typer.Exit(1) from None
