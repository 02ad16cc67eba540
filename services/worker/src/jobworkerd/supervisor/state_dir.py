"""The state directory of one server: its lock, the records of all jobs and, in `jobs`, their logs."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from jobworkerd.exhaustion import is_exhaustion
from jobworkerd.logs import hole_punch
from jobworkerd.logs.placement import spread
from jobworkerd.spawn.identity import Identity
from jobworkerd.startup import CannotStart, InUse


class StateDir(NamedTuple):
    """The directory for logs, and the descriptor of the lock, which other processes may share."""

    jobs: Path
    lock: int


@contextmanager
def locked_state_dir(
    directory: Path, user: Identity | None, held_lock: int | None = None
) -> Iterator[StateDir]:
    """Lock the state directory, and return the directory for logs.

    The logs of an earlier server remain; `log_sweep` removes those without a record.
    `held_lock` is the lock of an earlier supervisor of this server.

    Raises:
        CannotStart: the directory cannot be used.
        InUse: another server uses it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _open_lock(directory) if held_lock is None else held_lock
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        _lock(lock, directory)
        jobs_dir = _shared(directory / "jobs", user)
        # The disk can have become full or read-only since the start of the server. Its jobs must continue.
        if held_lock is None:
            spread(jobs_dir)
            _check_holes(jobs_dir)
        yield StateDir(jobs_dir, lock)
    finally:
        os.close(lock)


def _open_lock(directory: Path) -> int:
    return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(f"another server uses {directory}; choose another with --state-dir") from error


def _shared(jobs_dir: Path, user: Identity | None) -> Path:
    try:
        jobs_dir.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(jobs_dir, error) from error
    _share(jobs_dir, user)
    return jobs_dir


def _share(jobs_dir: Path, user: Identity | None) -> None:
    """Let the user's group read the logs. New files get the group of the directory, see inode(7).

    The logs of earlier servers get the group, too, if it differs from the group of those servers.
    """
    group, mode = (user.gid, 0o2750) if user else (os.getegid(), 0o700)
    try:
        found = jobs_dir.stat()
        if found.st_gid != group:
            for path in (*jobs_dir.glob("*/*"), *jobs_dir.iterdir(), jobs_dir):
                os.chown(path, -1, group)
        if stat.S_IMODE(found.st_mode) != mode:
            jobs_dir.chmod(mode)
    except OSError as error:
        raise CannotStart(
            f"{jobs_dir} cannot be shared with the API processes ({error.strerror}); choose another "
            'directory with --state-dir, give the server CAP_CHOWN and CAP_FSETID, or set api.user = "root"'
        ) from error


def _check_holes(jobs_dir: Path) -> None:
    try:
        hole_punch.check(jobs_dir)
    except OSError as error:
        if is_exhaustion(error):
            raise _unusable(jobs_dir, error) from error
        raise CannotStart(
            f"the file system of {jobs_dir} cannot punch holes into a log ({error.strerror}); "
            "choose a directory on ext4, XFS, Btrfs or tmpfs with --state-dir"
        ) from error


def _unusable(directory: Path, error: OSError) -> CannotStart:
    full = is_exhaustion(error)
    remedy = (
        "free some space there, or choose a directory on another disk" if full else "choose another directory"
    )
    return CannotStart(f"{directory} cannot contain the state ({error.strerror}); {remedy} with --state-dir")
