"""The base directory of the server's cgroups: where it is, who made it, and that one server alone uses it.

Directories that a server makes carry a mark (an extended attribute), so that a later server removes those
of one that was killed, and never a directory that an administrator prepared.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jobworkerd.cgroup.mounts import own_cgroup

SERVER = "server"
"""The cgroup below the base that has the server's own processes."""

JOBS = "jobs"
"""The cgroup below the base that has the jobs' cgroups."""

_USUAL_MOUNT = Path("/sys/fs/cgroup")
_MARK = "user.jobworkerd"


class BadBase(ValueError):
    """Raised when the configured base cannot be used, and another one has to be chosen."""


def resolve_base(configured: str, mount: Path) -> Path:
    """Returns where a configured base lies on this host.

    A path below /sys/fs/cgroup is meant as one below the cgroup v2 mount, which on a hybrid host is a
    directory deeper.

    Raises:
        BadBase: it is the mount itself, or neither below the mount nor below /sys/fs/cgroup.
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
    """Returns this process's cgroup if this user may use it as a base, as with systemd's `Delegate=yes`.

    A process that an earlier server moved into its `server` cgroup still has the cgroup above as its base.
    """
    own = mount / own_cgroup(proc).lstrip("/")
    for cgroup in (own.parent, own) if own.name == SERVER else (own,):
        if cgroup != mount and usable(cgroup):
            return cgroup
    return None


def usable(cgroup: Path) -> bool:
    """True if this user may make cgroups below a cgroup, move processes there and enable controllers."""
    controls = (cgroup, cgroup / "cgroup.procs", cgroup / "cgroup.subtree_control")
    return all(os.access(path, os.W_OK) for path in controls)


@contextmanager
def occupied(base: Path) -> Iterator[None]:
    """Makes the base and keeps other servers from it; at the end it goes if a server made it.

    Raises:
        BadBase: another server uses it.
        OSError: this user cannot make or use it. Nothing is left behind.
    """
    lock = _make_and_lock(base)
    try:
        yield
    finally:
        _remove(base)
        os.close(lock)


def is_ours(directory: Path) -> bool:
    """True if a server made the directory."""
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
            # The server that had it may have removed it since it was opened here.
            if os.path.samestat(os.fstat(lock), base.stat()):
                return lock
        except BlockingIOError as error:
            os.close(lock)
            raise BadBase(
                f"cgroup_base: another server uses {base}; choose another directory with --cgroup-base"
            ) from error
        except FileNotFoundError:
            pass
        os.close(lock)


def make(base: Path) -> None:
    """Makes the base and the directories above it, and marks those that it makes.

    Raises:
        OSError: this user cannot make or use it. Nothing is left behind.
    """
    try:
        for directory in (*reversed(base.parents), base):
            if not directory.is_dir():
                directory.mkdir()
                with suppress(OSError):  # a kernel without them: then the directory stays
                    os.setxattr(directory, _MARK, b"made")
        if not os.access(base / "cgroup.procs", os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError:
        _remove(base)
        raise


def _remove(base: Path) -> None:
    """Removes the base and the directories above it that servers made, as far as they are empty."""
    for directory in (base, *base.parents):
        try:
            if directory.is_dir():
                if not is_ours(directory):
                    return
                directory.rmdir()
        except OSError:
            return
