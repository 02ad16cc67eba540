"""Resolves the settings: flags over environment over TOML file over defaults.

Unknown names and values that are not accepted are errors in every source, so that no setting is ignored
silently.
"""

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from jobworkerd.config import Config, listen_address
from jobworkerd.settings.keys import Key, all_keys
from jobworkerd.settings.sizes import size_in
from jobworkerd.settings.user_defaults import user_defaults

DEFAULT_FILE = Path("/opt/job-worker/config.toml")
"""The configuration file of root that is used if `--config` is not given and the file exists."""

_PASSWORD = re.compile(r'(://[^:@/"]*:)[^"]*(?=@)|(password=)[^&"]*')
"""The password of an address: before its last @, or as a parameter."""

DEFAULT = "default"
"""The source of a value that no other source sets."""


class SettingsError(Exception):
    """Raised when settings cannot be resolved. The message has key, value, source and accepted values."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The resolved settings, and the source of each value by key."""

    config: Config
    sources: Mapping[str, str]


class Files(NamedTuple):
    """The configuration file: `given` must exist, and otherwise `default` is used if it exists."""

    given: Path | None
    default: Path


@dataclasses.dataclass(frozen=True)
class _Given:
    """A value from a source. If it is text, the type of its key decides whether `10` is a number."""

    value: object
    source: str
    is_text: bool = False


def resolve_settings(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Return the resolved settings.

    `file` must exist. If it is None, the default file of this user is used if it exists. `flags` maps keys to
    values, and None stands for a flag that is not given.

    Raises:
        SettingsError: a source cannot be read, a name is unknown, or a value is not accepted.
    """
    own = user_defaults(environ)
    files = Files(file, own.file if own else DEFAULT_FILE)
    values, sources = resolve_values(all_keys(), files, environ, flags, own.values if own else {})
    return Settings(msgspec.convert(values, Config), sources)


def resolve_values(
    keys: Iterable[Key],
    files: Files,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    defaults: Mapping[str, object],
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the values of the sources as nested tables, and the source of each value by key.

    `defaults` replace those of the keys.

    Raises:
        SettingsError: a source cannot be read, a name is unknown, or a value is not accepted.
    """
    known = {key.name: key for key in keys}
    given = {
        **{name: _Given(value, DEFAULT) for name, value in defaults.items()},
        **_from_file(files, known),
        **_from_environment(environ, known),
        **_from_flags(flags, known),
    }
    values = {name: _accept(known[name], found) for name, found in given.items()}
    sources = {name: given[name].source if name in given else DEFAULT for name in known}
    return _nested(values), sources


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise SettingsError(f"configuration file {path} does not exist; correct --config") from error
    except OSError as error:
        raise SettingsError(f"configuration file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"configuration file {path} is not valid TOML: {error}") from error


def _from_file(files: Files, known: Mapping[str, Key]) -> dict[str, _Given]:
    if files.given is None and not files.default.exists():
        return {}
    file = files.given or files.default
    source = f"file {file}"
    given = {}
    for name, value in _flat(_read(file), known, source):
        if name not in known:
            raise SettingsError(f"unknown key {name} ({source}); {_suggestion(name, known)}")
        given[name] = _Given(value, source)
    return given


def _flat(
    document: Mapping[str, object], known: Mapping[str, Key], source: str
) -> Iterator[tuple[str, object]]:
    tables = {".".join(key.path[:length]) for key in known.values() for length in range(1, len(key.path))}
    pending = list(document.items())
    while pending:
        name, value = pending.pop(0)
        if name not in tables:
            yield name, value
        elif isinstance(value, dict):
            pending += ((f"{name}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            raise SettingsError(f"{name}: {_quoted(value)} ({source}) is not accepted; use a table")


def _from_environment(environ: Mapping[str, str], known: Mapping[str, Key]) -> dict[str, _Given]:
    variables = {key.variable: key for key in known.values()}
    prefixes = tuple({key.prefix for key in known.values()})
    given = {}
    for variable, text in environ.items():
        if not variable.startswith(prefixes):
            continue
        if variable not in variables:
            raise SettingsError(
                f"unknown environment variable {variable}; {_suggestion(variable, variables)}"
            )
        key = variables[variable]
        given[key.name] = _Given(
            _parts(text) if key.is_list else text, f"environment {variable}", is_text=True
        )
    return given


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_flags(flags: Mapping[str, object], known: Mapping[str, Key]) -> dict[str, _Given]:
    return {
        name: _Given(value, f"flag {known[name].flag}", is_text=isinstance(value, str))
        for name, value in flags.items()
        if value is not None
    }


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "remove it"


def _accept(key: Key, given: _Given) -> object:
    try:
        plain = size_in(key.unit, given.value) if key.unit else given.value
        value: object = msgspec.convert(plain, key.annotation, strict=not given.is_text)
        if key.name == "listen" or (key.name == "metrics.listen" and value):
            listen_address(str(value))
    except msgspec.ValidationError as error:
        raise SettingsError(_rejection(key, given)) from error
    except ValueError as error:
        raise SettingsError(f"{_rejection(key, given)} ({error})") from error
    return msgspec.to_builtins(value)


def _rejection(key: Key, given: _Given) -> str:
    return f"{key.name}: {_quoted(given.value)} ({given.source}) is not accepted; use {key.accepted}"


def _quoted(value: object) -> str:
    """Return a value for a message, which can get into a log: without the password of an address."""
    return _PASSWORD.sub(r"\1\2***", json.dumps(value, ensure_ascii=False, default=str))


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, value in values.items():
        *tables, last = name.split(".")
        inner = tree
        for table in tables:
            found = inner.setdefault(table, {})
            assert isinstance(found, dict)
            inner = found
        inner[last] = value
    return tree
