"""Mounts a job's view of the host: a read-only system, private directories, writable paths and account files.

The mounts are in a new mount namespace. Their order matters: a parent is mounted before the mounts below it.

The fork server loads this module, so it imports little (see `fork_server`). See mount_namespaces(7),
mount_setattr(2), open_tree(2) and move_mount(2).
"""

import ctypes
import os
from typing import NamedTuple

from jobworkerd.libc import checked, libc

HOME = b"/home/job"
"""The home of a job that has a mount namespace."""

PRIVATE = (b"/home", b"/tmp", b"/var/tmp", b"/dev/shm")
"""The directories that are private to each job. The parent of `HOME` is first."""

WRITABLE_PATHS = "writable_paths"
ACCOUNTS = "accounts"
"""The parts of a view that can be refused separately."""

# include/uapi/linux/mount.h
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE = 0x1, 0x2, 0x4, 0x8, 0x4000, 0x40000
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_FROM_EMPTY_PATH = 0x1, 0x4
_OPEN_TREE_FLAGS = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE

# include/uapi/asm-generic/unistd.h; the same on all architectures except Alpha
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442

_SAFE = _NOSUID | _NODEV


Accounts = tuple[tuple[bytes, bytes], ...]
"""Account files, each with an entry for the job's user."""


class View(NamedTuple):
    """The paths of a job's view. All paths are free of symbolic links; `links` maps links to such paths.

    `private` are the directories of `PRIVATE` that exist on the host; each is empty and holds at most
    `private_bytes`. `masked` directories are empty for a job. `writable` directories have the host's
    permissions. `accounts` has the first line of each account file (see `name_user`).
    """

    private: tuple[bytes, ...] = ()
    private_bytes: int = 0
    masked: tuple[bytes, ...] = ()
    writable: tuple[bytes, ...] = ()
    links: tuple[tuple[bytes, bytes], ...] = ()
    accounts: Accounts = ()


def make(view: View) -> dict[str, int]:
    """Mount a view in this process's mount namespace; return the errnos of the refused parts.

    `writable_paths:N` is the first unusable writable path, counted from 0.

    Raises:
        OSError: the kernel refused a part that restricts the job.
    """
    # Later mounts of the host, which would be writable, do not propagate here, and mounts here do not
    # propagate out.
    _mount(None, b"/", None, _REC | _PRIVATE)
    trees, errors = _open_trees(view.writable)
    _set_read_only(b"/")
    copies, refused = _copy_accounts(view)
    for path in sorted({*view.private, *trees}):
        if path not in trees:
            _mount_private(view, path)
        elif error := _attach(trees[path], path):
            errors[path] = error
    refused |= {f"{WRITABLE_PATHS}:{view.writable.index(path)}": errors[path] for path in list(errors)[:1]}
    for path, target in view.links:
        _link(path, target)
    for path in view.masked:
        if os.path.isdir(path):  # noqa: PTH112
            _mount(b"tmpfs", path, b"tmpfs", _RDONLY | _SAFE | _NOEXEC, b"mode=000,size=4k")
    for path, copy in copies.items():
        if error := _move(copy, path):
            refused[ACCOUNTS] = error
    return refused


def name_user(accounts: Accounts) -> None:
    """Overwrite the first lines of account files with entries of that length; make the files read-only."""
    for path, line in accounts:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.pwrite(file, line, 0)
        os.close(file)
        _set_read_only(path)


def mount_proc() -> None:
    """Mount /proc for this process's PID namespace."""
    _mount(b"proc", b"/proc", b"proc", _SAFE | _NOEXEC)


def _open_trees(paths: tuple[bytes, ...]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Copy the mounts at and below each path, before they become read-only; return them, and errnos."""
    trees: dict[bytes, int] = {}
    errors: dict[bytes, int] = {}
    for path in paths:
        try:
            trees[path] = _system_call(_OPEN_TREE, _AT_FDCWD, path, _OPEN_TREE_FLAGS)
        except OSError as error:
            errors[path] = error.errno or 0
    return trees, errors


def _attach(tree: int, path: bytes) -> int:
    """Mount a copy at a directory; return the errno, or 0."""
    try:
        if not os.path.isdir(path):  # noqa: PTH112 - mkdir on a frozen file system would block
            os.makedirs(path)  # noqa: PTH103 - in an empty private directory
    except OSError as error:
        os.close(tree)
        return error.errno or 0
    return _move(tree, path)


def _move(tree: int, path: bytes) -> int:
    try:
        _system_call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, path, _MOVE_MOUNT_FROM_EMPTY_PATH)
    except OSError as error:
        return error.errno or 0
    finally:
        os.close(tree)
    return 0


def _mount_private(view: View, path: bytes) -> None:
    mode = b"mode=755" if path == view.private[0] else b"mode=1777"
    _mount(b"tmpfs", path, b"tmpfs", _SAFE, b"%s,size=%d" % (mode, view.private_bytes))
    if path == view.private[0]:
        os.mkdir(HOME, 0o700)  # noqa: PTH102


def _link(path: bytes, target: bytes) -> None:
    """Recreate a symbolic link that a private directory hides."""
    if not os.path.exists(path):  # noqa: PTH110
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.symlink(target, path)  # noqa: PTH211


def _copy_accounts(view: View) -> tuple[dict[bytes, int], dict[str, int]]:
    """Copy the account files with one more line; return their mounts, and the errno of a failure.

    The private home later covers the copies. Unmounting them would wait for a grace period of RCU, which
    takes milliseconds on a busy host. The full copies are written now, so the line that the job's process
    overwrites later is not charged to the job.
    """
    copies: dict[bytes, int] = {}
    directory = view.private[0]
    try:
        _mount(b"tmpfs", directory, b"tmpfs", _SAFE | _NOEXEC, b"mode=755")
        for path, line in view.accounts:
            copy = directory + b"/" + os.path.basename(path)  # noqa: PTH119
            with open(path, "rb", buffering=0) as host, open(copy, "wb", buffering=0) as file:  # noqa: PTH123
                file.write(line + host.readall())
            copies[path] = _system_call(_OPEN_TREE, _AT_FDCWD, copy, _OPEN_TREE_CLONE | os.O_CLOEXEC)
    except OSError as error:
        for tree in copies.values():
            os.close(tree)
        return {}, {ACCOUNTS: error.errno or 0}
    return copies, {}


def _mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None
) -> None:
    checked(libc().mount(source, target, kind, ctypes.c_ulong(flags), data))


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd"))


def _set_read_only(path: bytes) -> None:
    attributes = _Attributes(set=_RDONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _system_call(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attributes), size)


def _system_call(number: int, *arguments: object) -> int:
    return checked(libc().syscall(ctypes.c_long(number), *arguments))
