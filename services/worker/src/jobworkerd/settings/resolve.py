"""Reads the settings: flags over environment over TOML file over defaults.

A name that is not known and a value that is not accepted are errors, whatever the source: a setting that
was written down and has no effect is the worst of both.
"""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from jobworkerd.config import Config, listen_address
from jobworkerd.settings.keys import PREFIX, Key, all_keys
from jobworkerd.settings.sizes import size_in

DEFAULT_FILE = Path("/opt/job-worker/config.toml")
"""The configuration file that is read if it exists and no other is named."""

DEFAULT = "default"
"""The source of a value that nobody gave."""


class SettingsError(Exception):
    """Raised when settings cannot be read; names the key, the value, its source and what is accepted."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings in force, and where each value came from by its key's name."""

    config: Config
    sources: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class _Given:
    """A value as it was found. In text, `10` is a number for a key that wants one."""

    value: object
    source: str
    is_text: bool = False


def load(file: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Returns the settings in force.

    `file` has to exist; if it is None, `DEFAULT_FILE` is read if it exists. `flags` maps keys' names to
    values; a value of None is a flag that was not given.

    Raises:
        SettingsError: a source cannot be read, a key is not known, or a value is not accepted.
    """
    known = {key.name: key for key in all_keys()}
    given = {
        **_from_file(file, known),
        **_from_environment(environ, known),
        **_from_flags(flags, known),
    }
    values = {name: _accept(known[name], found) for name, found in given.items()}
    sources = {name: given[name].source if name in given else DEFAULT for name in known}
    return Settings(msgspec.convert(_nested(values), Config), sources)


def _read(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise SettingsError(f"the configuration file {path} does not exist") from error
    except OSError as error:
        raise SettingsError(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the configuration file {path} is not TOML: {error}") from error


def _from_file(file: Path | None, known: Mapping[str, Key]) -> dict[str, _Given]:
    if file is None and not DEFAULT_FILE.exists():
        return {}
    source = f"file {file or DEFAULT_FILE}"
    given = {}
    for name, value in _flat(_read(file or DEFAULT_FILE), known, source):
        if name not in known:
            raise SettingsError(f"the key {name} ({source}) is not known{_suggestion(name, known)}")
        given[name] = _Given(value, source)
    return given


def _flat(
    document: Mapping[str, object], known: Mapping[str, Key], source: str
) -> Iterator[tuple[str, object]]:
    tables = {key.path[0] for key in known.values() if len(key.path) > 1}
    for name, value in document.items():
        if name not in tables:
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            raise SettingsError(f"{name} = {_shown(value)} ({source}) is not accepted; accepted: a table")


def _from_environment(environ: Mapping[str, str], known: Mapping[str, Key]) -> dict[str, _Given]:
    variables = {key.variable: key for key in known.values()}
    given = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        if variable not in variables:
            close = _suggestion(variable, variables)
            raise SettingsError(f"the environment variable {variable} is not known{close}")
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
    return f"; did you mean {close[0]}?" if close else ""


def _accept(key: Key, given: _Given) -> object:
    try:
        plain = size_in(key.unit, given.value) if key.unit else given.value
        value: object = msgspec.convert(plain, key.annotation, strict=not given.is_text)
        if key.name == "listen":
            listen_address(str(value))
    except msgspec.ValidationError as error:
        raise SettingsError(_complaint(key, given)) from error
    except ValueError as error:
        raise SettingsError(f"{_complaint(key, given)}: {error}") from error
    return msgspec.to_builtins(value)


def _complaint(key: Key, given: _Given) -> str:
    value = _shown(given.value)
    return f"{key.name} = {value} ({given.source}) is not accepted; accepted: {key.accepted}"


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {name: value for name, value in values.items() if "." not in name}
    for name, value in values.items():
        table, dot, last = name.partition(".")
        if dot:
            inner = tree.setdefault(table, {})
            assert isinstance(inner, dict)
            inner[last] = value
    return tree
