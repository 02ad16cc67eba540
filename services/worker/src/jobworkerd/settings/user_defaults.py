"""The defaults of a server without root: the directories of its user, and jobs that run as its user.

The directories follow the XDG base directory specification.
"""

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NAME = "job-worker"


class UserDefaults(NamedTuple):
    """The configuration file, and the values that replace other defaults, by key."""

    file: Path
    values: Mapping[str, str]


def user_defaults(environ: Mapping[str, str]) -> UserDefaults | None:
    """Return the defaults of this process's user; None for root and for a user without a home."""
    if os.geteuid() == 0 or (home := _home(environ)) is None:
        return None
    config = _base(environ, "XDG_CONFIG_HOME", home / ".config") / _NAME
    state = _base(environ, "XDG_STATE_HOME", home / ".local/state") / _NAME
    values = {"state_dir": str(state), "certs_dir": str(config / "certs"), "isolation.run_as": "server"}
    return UserDefaults(config / "config.toml", values)


def _home(environ: Mapping[str, str]) -> Path | None:
    if home := environ.get("HOME"):
        return Path(home).absolute()
    with suppress(KeyError):
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    return None


def _base(environ: Mapping[str, str], variable: str, default: Path) -> Path:
    """Return a base directory. The specification says that relative paths are ignored."""
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else default
