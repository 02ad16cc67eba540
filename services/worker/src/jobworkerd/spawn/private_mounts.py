"""Mounts a job's view of the host: a read-only system, its own /dev, private directories, writable paths and
account files.

The mounts are in a new mount namespace. Their order matters: a parent is mounted before the mounts below it.
The private directories are in one file system, the job's scratch, which bounds them together. It is in
memory, and a tree on disk can replace it just before the command runs.

The fork server loads this module, so it imports little (see `fork_server`). See mount_namespaces(7),
mount_setattr(2), open_tree(2) and move_mount(2).
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from jobworkerd.spawn import kernel_files, mounting, private_devices
from jobworkerd.spawn.mounting import NOEXEC, PRIVATE_PROPAGATION, REC, REMOUNT, SAFE, mount, set_read_only

HOME = b"/home/job"
"""The home of a job that has a mount namespace."""

PRIVATE = (b"/home", b"/tmp", b"/var/tmp", b"/dev/shm")
"""The directories that are private to each job. The parent of `HOME` is first."""

WRITABLE_PATHS = "writable_paths"
ACCOUNTS = "accounts"
"""The parts of a view that can be refused separately."""

Accounts = tuple[tuple[bytes, bytes], ...]
"""Account files, each with an entry for the job's user."""


class View(NamedTuple):
    """The paths of a job's view. All paths are free of symbolic links; `links` maps links to such paths.

    `private` are the directories of `PRIVATE` that exist on the host, and others. They are empty and hold at
    most `scratch_bytes` together. `masked` directories are empty for a job. `writable` directories have the
    host's permissions. `accounts` has the first line of each account file (see `name_user`). `devices` are
    files of the host's /dev, which the job's /dev has in addition.
    """

    private: tuple[bytes, ...] = ()
    scratch_bytes: int = 0
    masked: tuple[bytes, ...] = ()
    writable: tuple[bytes, ...] = ()
    links: tuple[tuple[bytes, bytes], ...] = ()
    accounts: Accounts = ()
    devices: tuple[bytes, ...] = ()


def make(view: View) -> dict[str, int]:
    """Mount a view in this process's mount namespace; return the errnos of the refused parts.

    `writable_paths:N` is the first unusable writable path, counted from 0.

    Raises:
        OSError: the kernel refused a part that restricts the job.
    """
    # Later mounts of the host, which would be writable, do not propagate here, and mounts here do not
    # propagate out.
    mount(None, b"/", None, REC | PRIVATE_PROPAGATION)
    trees, errors = _open_trees(view.writable)
    set_read_only(b"/")
    mount(b"tmpfs", view.private[0], b"tmpfs", SAFE, b"mode=755,size=%d" % view.scratch_bytes)
    private = _make_directories(view)
    copies, refused = _copy_accounts(view)
    private_devices.make(view.devices)
    errors |= _mount_directories(view, private, trees)
    refused |= {f"{WRITABLE_PATHS}:{view.writable.index(path)}": errors[path] for path in list(errors)[:1]}
    kernel_files.mask(view.masked)
    if private_devices.DEV not in trees:
        set_read_only(private_devices.DEV, recursive=False)
    for path, copy in copies.items():
        if error := _move(copy, path):
            refused[ACCOUNTS] = error
    return refused


def resize_scratch(view: View, size: int) -> None:
    """Set the bound on the private directories of this process, in bytes; 0 = it has none.

    Raises:
        OSError: this process lacks the privilege.
    """
    if size and (private := _in_scratch(view)):
        mount(None, private[0], None, REMOUNT | SAFE, b"size=%d" % size)


def move_to_disk(view: View, tree: int) -> None:
    """Mount a tree, given by a copy of its mount, over the private directories of this process.

    Raises:
        OSError: this process lacks the privilege, or the disk failed.
    """
    hidden = tuple(path for path in view.writable if _is_hidden(view, path))
    trees, _ = _open_trees(hidden)
    mounting.move(tree, view.private[0])
    _mount_directories(view, _make_directories(view), trees)


def name_user(accounts: Accounts) -> None:
    """Overwrite the first lines of account files with entries of that length; make the files read-only."""
    for path, line in accounts:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.pwrite(file, line, 0)
        os.close(file)
        set_read_only(path)


def mount_proc() -> None:
    """Mount /proc for this process's PID namespace."""
    mount(b"proc", b"/proc", b"proc", SAFE | NOEXEC)


def _open_trees(paths: tuple[bytes, ...]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Copy the mounts at and below each path, before they become read-only; return them, and errnos."""
    trees: dict[bytes, int] = {}
    errors: dict[bytes, int] = {}
    for path in paths:
        try:
            trees[path] = mounting.open_tree(path, recursive=True)
        except OSError as error:
            errors[path] = error.errno or 0
    return trees, errors


def _mount_directories(
    view: View, private: Mapping[bytes, int], trees: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Mount the private directories and the writable paths; return the errnos of unusable writable paths."""
    errors: dict[bytes, int] = {}
    for path in sorted({*private, *trees}):
        if path not in trees:
            mounting.move(private[path], path)
        elif error := _attach(trees[path], path):
            errors[path] = error
    for path, target in view.links:
        _link(path, target)
    return errors


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
        mounting.move(tree, path)
    except OSError as error:
        return error.errno or 0
    return 0


def _make_directories(view: View) -> dict[bytes, int]:
    """Create the private directories in the file system of the scratch; return the mount of each.

    The parent of `HOME` is mounted over the file system's root later, so that no process can reach the root.
    """
    root, directories = view.private[0], {}
    for path in _in_scratch(view):
        directory = root + b"/" + path.replace(b"/", b"-")
        os.mkdir(directory)  # noqa: PTH102
        if path == root:
            os.mkdir(directory + HOME.removeprefix(PRIVATE[0]), 0o700)  # noqa: PTH102
        else:
            os.chmod(directory, 0o1777)  # noqa: PTH101, S103 - the umask does not apply
        directories[path] = mounting.open_tree(directory)
    return directories


def _in_scratch(view: View) -> tuple[bytes, ...]:
    """Return the private directories; a writable path can replace one."""
    return tuple(path for path in view.private if path not in view.writable)


def _is_hidden(view: View, path: bytes) -> bool:
    """Return whether a path is below a private directory."""
    return any(path.startswith(private + b"/") for private in _in_scratch(view))


def _link(path: bytes, target: bytes) -> None:
    """Recreate a symbolic link that a private directory hides."""
    if not os.path.exists(path):  # noqa: PTH110
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        os.symlink(target, path)  # noqa: PTH211


def _copy_accounts(view: View) -> tuple[dict[bytes, int], dict[str, int]]:
    """Copy the account files with one more line; return their mounts, and the errno of a failure.

    The copies are in the root of the scratch. They are complete, so the job cannot take their space, and the
    line that the job's process overwrites later is not charged to the job.
    """
    copies: dict[bytes, int] = {}
    try:
        for path, line in view.accounts:
            copy = view.private[0] + b"/" + os.path.basename(path)  # noqa: PTH119
            with open(path, "rb", buffering=0) as host, open(copy, "wb", buffering=0) as file:  # noqa: PTH123
                file.write(line + host.readall())
            copies[path] = mounting.open_tree(copy)
    except OSError as error:
        for tree in copies.values():
            os.close(tree)
        return {}, {ACCOUNTS: error.errno or 0}
    return copies, {}
