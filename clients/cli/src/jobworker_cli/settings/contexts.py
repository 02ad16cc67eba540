"""Contexts: named servers, with our certificates for them, in a TOML file of the user's.

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

__all__ = ["FIELDS", "Contexts", "contexts_file", "refuse_open_key"]

FIELDS = ("server", "certs", "role", "ca", "cert", "key", "server_name")
"""What a context may say; each is an option before the verb."""


class NoHomeDirectory(CliError):
    """Raised where the user's contexts can have no file."""


@dataclass(frozen=True)
class Contexts:
    """The file's content: each context's values by its name, and the name of the one in use or ""."""

    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    current: str = ""

    @classmethod
    def read(cls, file: Path) -> "Contexts":
        """Reads the file; where there is none, there are no contexts.

        Raises:
            CliError: it cannot be read, or is not such a file.
        """
        try:
            text = file.read_text()
        except (FileNotFoundError, NotADirectoryError):
            # A service's user often has the home directory /nonexistent or /dev/null.
            return cls()
        except (OSError, ValueError) as error:
            raise CliError(f"cannot read the contexts in {file}: {error}") from error
        # Imported here: most users have no such file.
        import tomllib

        try:
            content = tomllib.loads(text)
        except ValueError as error:
            raise CliError(f"cannot read the contexts in {file}: {error}") from error
        return cls(_tables(content, file), str(content.get("current", "")))

    @classmethod
    def of_user(cls, *, required: bool = True) -> "Contexts":
        """Reads the user's contexts. A user without a home directory has none.

        Raises:
            CliError: the file cannot be read or is not such a file.
            NoHomeDirectory: contexts are `required`, and there is no home directory.
        """
        try:
            file = contexts_file()
        except NoHomeDirectory:
            if required:
                raise
            return cls()
        return cls.read(file)

    def write(self, file: Path) -> None:
        """Writes the file, whole or not at all."""
        # Imported here: a verb that reads contexts has no use for it.
        import tempfile

        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
            new.write(self._toml())
        Path(new.name).replace(file)

    def get(self, name: str) -> Mapping[str, str]:
        """Returns a context's values.

        Raises:
            CliError: there is none of that name.
        """
        if name not in self.values:
            known = ", ".join(sorted(self.values)) or "there are none"
            raise CliError(f'no context "{name}"', hint=f"`jobworker context list` shows them: {known}")
        return self.values[name]

    def put(self, name: str, values: Mapping[str, str]) -> "Contexts":
        """Returns the contexts with another one, in the place of one of the same name."""
        return replace(self, values={**self.values, name: values})

    def use(self, name: str) -> "Contexts":
        """Returns the contexts with one of them in use."""
        self.get(name)
        return replace(self, current=name)

    def _toml(self) -> str:
        lines = [f"current = {_string(self.current)}"] if self.current else []
        for name, values in self.values.items():
            lines += ["", f"[contexts.{_string(name)}]"]
            lines += [f"{key} = {_string(value)}" for key, value in values.items()]
        return "\n".join(lines).lstrip("\n") + "\n"


def contexts_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Returns where contexts are kept (https://specifications.freedesktop.org/basedir-spec/).

    Raises:
        NoHomeDirectory: neither the environment nor the user database names one.
    """
    base = environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return Path(base).expanduser() / "jobworker/contexts.toml"
    except RuntimeError:
        raise NoHomeDirectory(
            f"contexts need a home directory: HOME is not set and no account has UID {os.getuid()}",
            hint="set HOME or XDG_CONFIG_HOME; or give --server and --certs (or their variables)",
        ) from None


def refuse_open_key(key: Path) -> None:
    """Refuses a key that others than its owner can read.

    Raises:
        CliError: it is one.
    """
    if key.exists() and key.stat().st_mode & 0o077:
        raise CliError(f"the key {key} can be read by others", hint=f"chmod 600 {key}")


def _tables(content: Mapping[str, object], file: Path) -> dict[str, dict[str, str]]:
    tables = content.get("contexts", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise CliError(f"the contexts in {file} are not tables such as [contexts.prod]")
    for name, table in tables.items():
        for key, value in table.items():
            if key not in FIELDS or not isinstance(value, str):
                known = ", ".join(FIELDS)
                raise CliError(f'{file}: context "{name}": {key} is not one of the texts {known}')
    return tables


def _string(text: str) -> str:
    """Returns a TOML string: JSON's are, but for the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
