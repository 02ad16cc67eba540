"""The directories that jobs may write to, checked before the first job."""

import os
from pathlib import Path

from jobworkerd.config import Config
from jobworkerd.spawn.private_mounts import HOME

_HOME = Path(HOME.decode())


class UnusablePath(ValueError):
    """Raised when jobs could not write to a path of `isolation.writable_paths`; a sentence."""


def check(config: Config) -> None:
    """Accepts directories that jobs can see and that leave them their own home.

    Raises:
        UnusablePath: one of the paths is another one.
    """
    for path in config.isolation.writable_paths:
        if problem := _problem(Path(path), config):
            raise UnusablePath(f"isolation.writable_paths: {path} {problem}")


def places(config: Config) -> tuple[Path, ...]:
    """Returns where the directories are: as configured, and without links."""
    paths = [Path(path) for path in config.isolation.writable_paths]
    return tuple({*paths, *(path.resolve() for path in paths)})


def _problem(path: Path, config: Config) -> str:
    try:
        real = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        return f"cannot be used ({error.strerror}); create the directory first, or take it off the list"
    if not real.is_dir():
        return "is not a directory; name the directory that it is in"
    if real == Path("/"):
        return "is the whole system; name directories below it, or set isolation.mount_namespace = false"
    if real in {_HOME.parent.resolve(), _HOME.resolve()}:
        return "is where the jobs have their own home; name directories below it"
    for setting in ("state_dir", "certs_dir"):
        hidden = Path(getattr(config, setting)).resolve()
        if real.is_relative_to(hidden):
            return f"is in {hidden}, which jobs cannot see ({setting}); choose a directory outside of it"
    return ""
