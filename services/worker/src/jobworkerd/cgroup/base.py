"""The base directory of the server's cgroups. One server uses it at a time.

Directories that a server creates carry a mark (an extended attribute). A later server removes marked
directories of a killed server, and never a directory that an administrator prepared.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobworkerd.cgroup.mounts import own_cgroup
from jobworkerd.startup import InUse

SERVER = "server"
"""The cgroup of the server's processes, below the base."""

JOBS = "jobs"
"""The parent of the jobs' cgroups, below the base."""

_USUAL_MOUNT = Path("/sys/fs/cgroup")
_MARK = "user.jobworkerd"


class BadBase(ValueError):
    """Raised when the configured base cannot be used. The administrator has to choose another one."""


class BaseInUse(InUse, BadBase):
    """Raised when another server uses the base."""


def resolve_base(configured: str, mount: Path) -> Path:
    """Return the path of a configured base on this host.

    A path below /sys/fs/cgroup means a path below the cgroup v2 mount, which is one level deeper on a hybrid
    host.

    Raises:
        BadBase: the path is the mount itself, or neither below the mount nor below /sys/fs/cgroup.
    """
    path = Path(os.path.normpath(configured))
    if path == mount:
        raise BadBase(
            f"cgroup_base: {configured} is the cgroup v2 mount itself; use a directory below it, "
            f"such as {mount / 'job-worker'}"
        )
    if mount in path.parents:
        return path
    if _USUAL_MOUNT in path.parents:
        return mount / path.relative_to(_USUAL_MOUNT)
    raise BadBase(
        f"cgroup_base: {configured} is not a directory below {mount}, where cgroup v2 is mounted; "
        f"use one that is, such as {mount / 'job-worker'}"
    )


def delegated(mount: Path, proc: Path = Path("/proc")) -> Path | None:
    """Return this process's cgroup if this user may use it as a base, for example with `Delegate=yes`.

    The base of a process in the `server` cgroup of an earlier server is the cgroup above it.
    """
    own = mount / own_cgroup(proc).lstrip("/")
    for cgroup in (own.parent, own) if own.name == SERVER else (own,):
        if cgroup != mount and usable(cgroup):
            return cgroup
    return None


def of_service_manager(mount: Path) -> Path | None:
    """Return the cgroup of this user's service manager, which delegates cgroups below it to services."""
    uid = os.getuid()
    cgroup = mount / "user.slice" / f"user-{uid}.slice" / f"user@{uid}.service"
    return cgroup if cgroup.is_dir() and usable(cgroup) else None


def usable(cgroup: Path) -> bool:
    """Return whether this user may create cgroups below a cgroup, move processes and enable controllers."""
    controls = (cgroup, cgroup / "cgroup.procs", cgroup / "cgroup.subtree_control")
    return all(os.access(path, os.W_OK) for path in controls)


@contextmanager
def occupied(base: Path, held_lock: int | None = None) -> Iterator[int]:
    """Create and lock the base, and return the lock; remove the base at the end if a server created it.

    `held_lock` is the lock of an earlier supervisor of this server.

    Raises:
        BaseInUse: another server uses the base.
        OSError: this user cannot create or use the base. Nothing is left behind.
    """
    lock = _make_and_lock(base) if held_lock is None else held_lock
    try:
        yield lock
    finally:
        _remove(base)
        os.close(lock)


def is_ours(directory: Path) -> bool:
    """Return whether a server created the directory."""
    try:
        return bool(os.getxattr(directory, _MARK))
    except OSError:
        return False


def _make_and_lock(base: Path) -> int:
    while True:
        make(base)
        lock = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another server can have removed it since it was opened.
            if os.path.samestat(os.fstat(lock), base.stat()):
                return lock
        except BlockingIOError as error:
            os.close(lock)
            raise BaseInUse(
                f"cgroup_base: another server uses {base}; choose another directory with --cgroup-base"
            ) from error
        except FileNotFoundError:
            pass
        os.close(lock)


def make(base: Path) -> None:
    """Create the base and the directories above it, and mark the new ones.

    Raises:
        OSError: this user cannot create or use the base. Nothing is left behind.
    """
    try:
        for directory in (*reversed(base.parents), base):
            if not directory.is_dir():
                directory.mkdir()
                with suppress(OSError):  # without extended attributes the directory stays
                    os.setxattr(directory, _MARK, b"made")
        if not os.access(base / "cgroup.procs", os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError:
        _remove(base)
        raise


def _remove(base: Path) -> None:
    """Remove the base and the directories above it, as long as they are marked and empty."""
    for directory in (base, *base.parents):
        try:
            if directory.is_dir():
                if not is_ours(directory):
                    return
                directory.rmdir()
        except OSError:
            return
