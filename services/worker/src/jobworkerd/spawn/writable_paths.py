"""Checks the directories of `isolation.writable_paths` before the first job."""

import os
from pathlib import Path

from jobworkerd.config import Config
from jobworkerd.spawn.private_mounts import HOME

_HOME = Path(HOME.decode())


class UnusablePath(ValueError):
    """Raised when a path of `isolation.writable_paths` is unusable. The text is for the administrator."""


def check(config: Config) -> None:
    """Check that each path is a directory that jobs can see and that does not hide their home.

    Raises:
        UnusablePath: a path does not qualify.
    """
    for path in config.isolation.writable_paths:
        if problem := _problem(Path(path), config):
            raise UnusablePath(f"isolation.writable_paths: {path} {problem}")


def watched_paths(config: Config) -> tuple[Path, ...]:
    """Return the configured paths and their real paths, without symbolic links."""
    paths = [Path(path) for path in config.isolation.writable_paths]
    return tuple({*paths, *(path.resolve() for path in paths)})


def _problem(path: Path, config: Config) -> str:
    try:
        real = Path(os.path.realpath(path, strict=True))
    except OSError as error:
        return f"cannot be used ({error.strerror}); create the directory first, or remove it from the list"
    if not real.is_dir():
        return "is not a directory; use the directory that contains it"
    if real == Path("/"):
        return "is the whole system; use directories below it, or set isolation.mount_namespace = false"
    if real in {_HOME.parent.resolve(), _HOME.resolve()}:
        return "hides the private home of the jobs; use directories below it"
    server = {
        "state_dir": config.state_dir,
        "certs_dir": config.certs_dir,
        "scratch.directory": config.scratch.directory,
    }
    for setting, directory in server.items():
        hidden = Path(directory).resolve()
        if directory and real.is_relative_to(hidden):
            return f"is in {hidden}, which jobs cannot see ({setting}); choose a directory outside of it"
    return ""
