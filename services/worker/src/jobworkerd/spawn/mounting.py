"""The system calls that mount file systems: mount(2), open_tree(2), move_mount(2) and mount_setattr(2).

All functions raise OSError if the kernel refuses.

The fork server loads this module, so it imports little (see `fork_server`).
"""

import ctypes
import os

from jobworkerd.libc import checked, libc

# include/uapi/linux/mount.h
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, REC, PRIVATE_PROPAGATION = 0x1, 0x2, 0x4, 0x8, 0x20, 0x4000, 0x40000
SAFE = NOSUID | NODEV
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_FROM_EMPTY_PATH = 0x1, 0x4

# include/uapi/asm-generic/unistd.h; the same on all architectures except Alpha
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442


def mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None
) -> None:
    """Mount a file system."""
    checked(libc().mount(source, target, kind, ctypes.c_ulong(flags), data))


def open_tree(path: bytes, *, directory: int = _AT_FDCWD, recursive: bool = False) -> int:
    """Copy the mount at a path, or also the mounts below it; return the descriptor of the copy."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _system_call(_OPEN_TREE, directory, path, flags)


def move(tree: int, path: bytes) -> None:
    """Mount a copy at a path, and close its descriptor."""
    try:
        _system_call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, path, _MOVE_MOUNT_FROM_EMPTY_PATH)
    finally:
        os.close(tree)


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns_fd"))


def set_read_only(path: bytes, *, recursive: bool = True) -> None:
    """Make the mount at a path read-only, and by default the mounts below it."""
    attributes = _Attributes(set=RDONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    flags = _AT_RECURSIVE if recursive else 0
    _system_call(_MOUNT_SETATTR, _AT_FDCWD, path, flags, ctypes.byref(attributes), size)


def make_private(tree: int) -> None:
    """Give a copy of a mount the flags `SAFE`, and no propagation to or from other mounts."""
    attributes = _Attributes(set=SAFE, propagation=PRIVATE_PROPAGATION)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _system_call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)


def _system_call(number: int, *arguments: object) -> int:
    return checked(libc().syscall(ctypes.c_long(number), *arguments))
