"""Resolve the global options from the command line, contexts and the environment.

An option has the highest priority. The context of `--context`, the environment and the current context
follow, in this order.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from jobworker_cli.settings.contexts import FIELDS, Contexts

__all__ = ["RootContext", "Setting", "Settings", "connection_settings", "resolve_settings"]

FILES = {"ca": "ca.pem", "cert": "{role}.pem", "key": "{role}-key.pem"}


class RootContext(Protocol):
    """The used part of the `typer.Context` of the root command."""

    params: dict[str, Any]

    def get_parameter_source(self, name: str) -> enum.Enum | None:
        """Return COMMANDLINE, ENVIRONMENT, DEFAULT, …"""
        ...


class Priority(enum.IntEnum):
    """The source of a value; the lowest number wins."""

    OPTION = enum.auto()
    NAMED_CONTEXT = enum.auto()
    ENVIRONMENT = enum.auto()
    CURRENT_CONTEXT = enum.auto()
    DEFAULT = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The resolved global options.

    Attributes:
        server: `HOST:PORT`.
        ca: PEM file of the server's CA.
        cert: PEM file of the client's certificate.
        key: PEM file of the client's key.
        key_from_context: whether a context names the key.
        server_name: the name that the server's certificate must contain; empty = HOST.
        timeout: bound of a unary call, in seconds.
    """

    server: str
    ca: Path
    cert: Path
    key: Path
    key_from_context: bool
    server_name: str
    timeout: float


@dataclass(frozen=True)
class Setting:
    """A value, the description of its source, and the priority of the source."""

    value: str
    origin: str
    priority: Priority

    @property
    def from_context(self) -> bool:
        """Whether a context contains the value."""
        return self.priority in {Priority.NAMED_CONTEXT, Priority.CURRENT_CONTEXT}


def connection_settings(root: RootContext) -> Settings:
    """Return the settings for a connection.

    Raises:
        CliError: the contexts cannot be read, or no context has the name from `--context`.
    """
    named: str | None = root.params["context"]
    settings = resolve_settings(root, Contexts.load(required=named is not None), named)
    timeout: timedelta = root.params["timeout"]
    return Settings(
        server=settings["server"].value,
        ca=Path(settings["ca"].value),
        cert=Path(settings["cert"].value),
        key=Path(settings["key"].value),
        key_from_context=settings["key"].from_context,
        server_name=settings["server_name"].value,
        timeout=timeout.total_seconds(),
    )


def resolve_settings(root: RootContext, contexts: Contexts, named: str | None) -> dict[str, Setting]:
    """Return the settings by the names in `FIELDS`.

    Args:
        root: the root command, whose options have the same names.
        contexts: all contexts.
        named: the context of `--context`; None = the current context, if there is one.
    """
    priority = Priority.NAMED_CONTEXT if named else Priority.CURRENT_CONTEXT
    name = named or contexts.current
    values = contexts.get(name) if name else {}
    from_context = {field: Setting(value, f"context {name}", priority) for field, value in values.items()}
    settings = {
        field: min(
            (
                setting
                for setting in (_from_root(root, field), from_context.get(field))
                if setting is not None
            ),
            key=lambda setting: setting.priority,
        )
        for field in FIELDS
    }
    return {**settings, **dict(_files_in_directory(settings))}


def _from_root(root: RootContext, field: str) -> Setting:
    value = str(root.params[field] or "")
    source = root.get_parameter_source(field)
    match source.name if source is not None else "DEFAULT":
        case "COMMANDLINE":
            return Setting(value, f"--{field.replace('_', '-')}", Priority.OPTION)
        case "ENVIRONMENT":
            return Setting(value, f"JOBWORKER_{field.upper()}", Priority.ENVIRONMENT)
        case _:
            return Setting(value, "default", Priority.DEFAULT)


def _files_in_directory(settings: Mapping[str, Setting]) -> Iterator[tuple[str, Setting]]:
    """Yield the files in the certificates directory that replace unset files.

    They also replace the files of a context if the directory or the role has a higher priority.
    """
    certs, role = settings["certs"], settings["role"]
    for field, pattern in FILES.items():
        file = settings[field]
        overridden = file.from_context and min(certs.priority, role.priority) < file.priority
        if not file.value or overridden:
            path = Path(certs.value) / pattern.format(role=role.value)
            yield field, Setting(str(path), f"in the directory: {certs.origin}", certs.priority)
