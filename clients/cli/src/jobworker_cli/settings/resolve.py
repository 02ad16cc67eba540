"""Where each of the options before the verb comes from: the command line, the environment, a context.

An option goes before the context that `--context` names, that one before the environment, and this before
the context in use.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from jobworker_cli.settings.contexts import FIELDS, Contexts

__all__ = ["Root", "Setting", "Settings", "settings_of", "settle"]

FILES = {"ca": "ca.pem", "cert": "{role}.pem", "key": "{role}-key.pem"}


class Root(Protocol):
    """What is used of the root command's typer.Context."""

    params: dict[str, Any]

    def get_parameter_source(self, name: str) -> enum.Enum | None:
        """Returns COMMANDLINE, ENVIRONMENT, DEFAULT, …"""
        ...


class Rank(enum.IntEnum):
    """Who says it; the lower one is listened to."""

    OPTION = enum.auto()
    NAMED_CONTEXT = enum.auto()
    ENVIRONMENT = enum.auto()
    CONTEXT_IN_USE = enum.auto()
    DEFAULT = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the options before the verb come to.

    `server` is `HOST:PORT`; `server_name` the name that its certificate must have, if that is not HOST;
    `own_key` says that a context names the key; `timeout` bounds a unary call, in seconds.
    """

    server: str
    ca: Path
    cert: Path
    key: Path
    own_key: bool
    server_name: str
    timeout: float


@dataclass(frozen=True)
class Setting:
    """A value, and where it comes from, for people and for comparisons."""

    value: str
    origin: str
    rank: Rank

    @property
    def of_context(self) -> bool:
        """Tells whether a context says it."""
        return self.rank in {Rank.NAMED_CONTEXT, Rank.CONTEXT_IN_USE}


def settings_of(root: Root) -> Settings:
    """Returns the settings of a verb.

    Raises:
        CliError: the contexts cannot be read, or no context has the name given.
    """
    named: str | None = root.params["context"]
    found = settle(root, Contexts.of_user(required=named is not None), named)
    timeout: timedelta = root.params["timeout"]
    return Settings(
        server=found["server"].value,
        ca=Path(found["ca"].value),
        cert=Path(found["cert"].value),
        key=Path(found["key"].value),
        own_key=found["key"].of_context,
        server_name=found["server_name"].value,
        timeout=timeout.total_seconds(),
    )


def settle(root: Root, contexts: Contexts, named: str | None) -> dict[str, Setting]:
    """Returns the settings under the names of `FIELDS`.

    Args:
        root: has the root command's options, under the same names.
        contexts: the contexts that there are.
        named: the one to take before the environment; None = the one in use, if there is one.
    """
    rank = Rank.NAMED_CONTEXT if named else Rank.CONTEXT_IN_USE
    name = named or contexts.current
    values = contexts.get(name) if name else {}
    said = {field: Setting(value, f"context {name}", rank) for field, value in values.items()}
    found = {
        field: min(
            (setting for setting in (_given(root, field), said.get(field)) if setting is not None),
            key=lambda setting: setting.rank,
        )
        for field in FIELDS
    }
    return {**found, **dict(_files_of_folder(found))}


def _given(root: Root, field: str) -> Setting:
    value = str(root.params[field] or "")
    source = root.get_parameter_source(field)
    match source.name if source is not None else "DEFAULT":
        case "COMMANDLINE":
            return Setting(value, f"--{field.replace('_', '-')}", Rank.OPTION)
        case "ENVIRONMENT":
            return Setting(value, f"JOBWORKER_{field.upper()}", Rank.ENVIRONMENT)
        case _:
            return Setting(value, "default", Rank.DEFAULT)


def _files_of_folder(found: Mapping[str, Setting]) -> Iterator[tuple[str, Setting]]:
    """Yields the files that nobody names, and those of a context where somebody else names the folder."""
    certs, role = found["certs"], found["role"]
    for field, pattern in FILES.items():
        file = found[field]
        overruled = file.of_context and min(certs.rank, role.rank) < file.rank
        if not file.value or overruled:
            path = Path(certs.value) / pattern.format(role=role.value)
            yield field, Setting(str(path), f"of the folder: {certs.origin}", certs.rank)
