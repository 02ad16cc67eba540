"""`jobworkerd config`: prints the resolved settings and the source of each."""

import json
from collections.abc import Iterator

import typer

from jobworkerd.settings.keys import Value, all_keys
from jobworkerd.settings.options import FLAGS, Format, Output, with_settings
from jobworkerd.settings.resolve import Settings


@with_settings(*FLAGS)
def config(settings: Settings, *, output: Output = Format.TEXT) -> None:
    """Print the resolved settings and the source of each, in the format of the configuration file.

    The command accepts the flags of `serve`. It starts no server.
    """
    typer.echo(_json(settings) if output is Format.JSON else "\n".join(_toml(settings)))


def _json(settings: Settings) -> str:
    entries = {
        key.name: {"value": key.value(settings.config), "source": settings.sources[key.name]}
        for key in all_keys()
    }
    return json.dumps(entries, indent=2, ensure_ascii=False)


def _toml(settings: Settings) -> Iterator[str]:
    table = ""
    for key in all_keys():
        if key.table != table:
            table = key.table
            yield f"\n[{table}]"
        yield f"{key.path[-1]} = {toml_value(key.value(settings.config))}  # {settings.sources[key.name]}"


def toml_value(value: Value) -> str:
    """Return a value in TOML, which is JSON except that TOML requires DEL to be escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
