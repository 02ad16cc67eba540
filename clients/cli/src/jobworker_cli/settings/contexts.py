"""Read and write the TOML file of contexts: named servers with client certificates.

current = "prod"

[contexts.prod]
server = "jobs.example.org:50051"
certs = "/home/me/prod-certs"
role = "viewer"
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobworker_cli.errors import CliError

__all__ = ["FIELDS", "Contexts", "check_key_permissions", "contexts_file"]

FIELDS = ("server", "certs", "role", "ca", "cert", "key", "server_name")
"""The keys of a context; each is also a global option."""


class NoHomeDirectory(CliError):
    """The user has no home directory for the file."""


@dataclass(frozen=True)
class Contexts:
    """The contexts by name, and the name of the current context or ""."""

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    current: str = ""

    @classmethod
    def read(cls, file: Path) -> "Contexts":
        """Read a file; a missing file has no contexts.

        Raises:
            CliError: the file cannot be read, or is invalid.
        """
        try:
            text = file.read_text()
        except (FileNotFoundError, NotADirectoryError):
            # The home directory of a service user is often /nonexistent or /dev/null.
            return cls()
        except OSError as error:
            raise CliError(f"cannot read the contexts in {file}: {error.strerror}") from error
        except ValueError as error:
            raise CliError(f"cannot read the contexts in {file}: {error}") from error
        # Imported here, because most users have no contexts.
        import tomllib

        try:
            content = tomllib.loads(text)
        except ValueError as error:
            raise CliError(f"cannot read the contexts in {file}: {error}") from error
        return cls(_tables(content, file), str(content.get("current", "")))

    @classmethod
    def load(cls, *, required: bool = True) -> "Contexts":
        """Read the contexts of the user; a user without a home directory has no contexts.

        Raises:
            CliError: the file cannot be read, or is invalid.
            NoHomeDirectory: contexts are `required`, and the user has no home directory.
        """
        try:
            file = contexts_file()
        except NoHomeDirectory:
            if required:
                raise
            return cls()
        return cls.read(file)

    def write(self, file: Path) -> None:
        """Replace the file atomically."""
        # Imported here, because subcommands that read contexts do not need it.
        import tempfile

        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
            new.write(self._toml())
        Path(new.name).replace(file)

    def get(self, name: str) -> Mapping[str, str]:
        """Return the values of a context.

        Raises:
            CliError: no context has this name.
        """
        if name not in self.values:
            known = ", ".join(sorted(self.values))
            hint = f"use one of: {known}" if known else "`jobworker context add` adds a context"
            raise CliError(f'no context has the name "{name}"', hint=hint)
        return self.values[name]

    def put(self, name: str, values: Mapping[str, str]) -> "Contexts":
        """Return the contexts with one added or replaced."""
        return replace(self, values={**self.values, name: values})

    def use(self, name: str) -> "Contexts":
        """Return the contexts with another current one."""
        self.get(name)
        return replace(self, current=name)

    def _toml(self) -> str:
        lines = [f"current = {_toml_string(self.current)}"] if self.current else []
        for name, values in self.values.items():
            lines += ["", f"[contexts.{_toml_string(name)}]"]
            lines += [f"{key} = {_toml_string(value)}" for key, value in values.items()]
        return "\n".join(lines).lstrip("\n") + "\n"


def contexts_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the file (https://specifications.freedesktop.org/basedir-spec/).

    Raises:
        NoHomeDirectory: neither the environment nor the user database has a home directory.
    """
    base = environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return Path(base).expanduser() / "jobworker/contexts.toml"
    except RuntimeError:
        raise NoHomeDirectory(
            f"contexts need a home directory: HOME is not set and no account has UID {os.getuid()}",
            hint="set HOME or XDG_CONFIG_HOME, or use --server and --certs or their variables",
        ) from None


def check_key_permissions(key: Path) -> None:
    """Refuse a key that other users can read.

    Raises:
        CliError: other users can read the key.
    """
    if key.exists() and key.stat().st_mode & 0o077:
        raise CliError(f"other users can read the key {key}", hint=f"run: chmod 600 {key}")


def _tables(content: Mapping[str, object], file: Path) -> dict[str, dict[str, str]]:
    tables = content.get("contexts", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise CliError(f"{file}: a context is not a table; write it as [contexts.NAME]")
    for name, table in tables.items():
        for key, value in table.items():
            if key not in FIELDS or not isinstance(value, str):
                known = ", ".join(FIELDS)
                raise CliError(f'{file}: context "{name}": {key} is unknown or not a string; use {known}')
    return tables


def _toml_string(text: str) -> str:
    """Return a TOML string: JSON has the same escapes, but does not escape DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
