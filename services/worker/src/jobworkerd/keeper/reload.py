"""A reload: how `jobworkerd serve` finds the keeper, and how the keeper recognizes its own new version."""

import os

SOCKET_VARIABLE = "KEEPER_SOCKET_FD"
"""The environment variable with the descriptor of the socket to the keeper."""

SETTINGS_VARIABLE = "KEEPER_SETTINGS_FD"
"""The environment variable with the descriptor of the settings of the current supervisor."""

_DIRECTORY = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would take memory


def fingerprint() -> tuple[tuple[str, int, int], ...]:
    """Return the names, sizes and change times of the keeper's files. They differ after an upgrade."""
    files = sorted(name for name in os.listdir(_DIRECTORY) if name.endswith(".py"))  # noqa: PTH208 - as above
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name in files if (stat := _stat(name)))


def _stat(name: str) -> os.stat_result | None:
    try:
        return os.stat(f"{_DIRECTORY}/{name}")  # noqa: PTH116 - as above
    except FileNotFoundError:  # replaced during an upgrade
        return None
