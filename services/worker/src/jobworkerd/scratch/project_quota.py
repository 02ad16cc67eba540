"""Project quotas: bounds on the space and on the files of a directory tree, on ext4 and XFS.

A file belongs to a project, a number. A new file gets the project of its directory if the directory has
`_INHERIT`. All functions take a descriptor of a directory and raise OSError if the kernel refuses. See
quotactl(2) and ioctl_xfs_fsgetxattr(2). The kernel forgets a project that has neither bounds nor files.
"""

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

from jobworkerd.libc import checked, libc

FIRST, COUNT = 0x7000_0000, 1 << 24
"""The projects of jobs. They leave low numbers, as in /etc/projid, to the administrator."""

# include/uapi/linux/fs.h
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_INHERIT = 0x200

_ATTRIBUTES = struct.Struct("=5I8x")
"""`struct fsxattr`: flags, extent size, extents, project, extent size of copies."""

# include/uapi/asm-generic/unistd.h; the same on all architectures
_QUOTACTL_FD = 443

# include/uapi/linux/quota.h and dqblk_xfs.h
_GET_QUOTA, _SET_QUOTA, _GET_NEXT_QUOTA, _GET_STATE = 0x800007, 0x800008, 0x800009, 0x5808
_PROJECT_TYPE, _SET_BOUNDS = 2, 0x5
_ENFORCED = 1 << 5

_QUOTA = struct.Struct("=8QI4x")
"""`struct if_dqblk`: for space and then for files the hard bound, the soft bound and the use; times; valid
fields. The bounds on space are in blocks, the use of space is in bytes.
"""

_NEXT_QUOTA = struct.Struct("=8QII")
"""`struct if_nextdqblk`: a quota and its project."""

_UNKNOWN_PROJECT = frozenset({errno.ENOENT, errno.ESRCH})
_BLOCK_BYTES = 1024
_STATE_BYTES, _STATE_VERSION = 256, 1
"""More than the size of `struct fs_quota_statv`."""

_ATTEMPTS = 64


def problem(directory: int) -> str:
    """Return why the file system cannot bound directories; empty if it can."""
    state = bytearray(_STATE_BYTES)
    state[0] = _STATE_VERSION
    try:
        _quotactl(directory, _GET_STATE, 0, state)
    except OSError as error:
        return f"has no project quotas ({error.strerror})"
    flags = int.from_bytes(state[2:4], "little")
    return "" if flags & _ENFORCED else "does not enforce project quotas"


def assign_project(directory: int) -> None:
    """Move an empty directory to a project without files, which all later files in it inherit."""
    for _ in range(_ATTEMPTS):
        project = FIRST + int.from_bytes(os.urandom(4), "little") % COUNT
        if _is_free(directory, project):
            flags, extent_size, extents, _, of_copies = _attributes(directory)
            wanted = (flags | _INHERIT, extent_size, extents, project, of_copies)
            fcntl.ioctl(directory, _SET_ATTRIBUTES, _ATTRIBUTES.pack(*wanted))
            return
    raise OSError(errno.EAGAIN, "all tried projects have files")


def set_bounds(directory: int, size: int, files: int) -> None:
    """Bound the bytes and the files of a directory's project."""
    _set_bounds(directory, project_of(directory), -(-size // _BLOCK_BYTES), files)


def projects(directory: int) -> Iterator[int]:
    """Yield the projects of jobs on the file system of a directory."""
    project = FIRST
    while True:
        quota = bytearray(_NEXT_QUOTA.size)
        try:
            _quotactl(directory, _GET_NEXT_QUOTA, project, quota)
        except OSError as error:
            if error.errno in _UNKNOWN_PROJECT:
                return
            raise
        project = _NEXT_QUOTA.unpack(quota)[-1]
        if not _is_of_job(project):
            return
        yield project
        project += 1


def release(directory: int, project: int) -> bool:
    """Remove the bounds of a project on the file system of a directory if the project has no file.

    Return False if it has one. It can be removed from its directory and still be open in another job.
    """
    if _is_of_job(project):
        _, _, space, _, _, files, *_ = _quota(directory, project)
        if space or files:
            return False
        _set_bounds(directory, project, 0, 0)
    return True


def used_bytes(directory: int) -> int:
    """Return the space that the files of a directory's project use."""
    return _quota(directory, project_of(directory))[2]


def project_of(directory: int) -> int:
    """Return the project of a directory; 0 if it has none."""
    return _attributes(directory)[3]


def _attributes(directory: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(directory, _GET_ATTRIBUTES, bytes(_ATTRIBUTES.size)))


def _is_of_job(project: int) -> bool:
    return FIRST <= project < FIRST + COUNT


def _is_free(directory: int, project: int) -> bool:
    blocks, _, space, files_bound, _, files, *_ = _quota(directory, project)
    return not any((blocks, space, files_bound, files))


def _set_bounds(directory: int, project: int, blocks: int, files: int) -> None:
    bounds = bytearray(_QUOTA.pack(blocks, blocks, 0, files, files, 0, 0, 0, _SET_BOUNDS))
    _quotactl(directory, _SET_QUOTA, project, bounds)


def _quota(directory: int, project: int) -> tuple[int, ...]:
    quota = bytearray(_QUOTA.size)
    try:
        _quotactl(directory, _GET_QUOTA, project, quota)
    except OSError as error:
        if error.errno not in _UNKNOWN_PROJECT:  # XFS stores only projects with files or bounds
            raise
    return _QUOTA.unpack(quota)


def _quotactl(directory: int, command: int, project: int, data: bytearray) -> None:
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    operation = ctypes.c_uint(command << 8 | _PROJECT_TYPE)
    number, identifier = ctypes.c_long(_QUOTACTL_FD), ctypes.c_uint(project)
    checked(libc().syscall(number, ctypes.c_uint(directory), operation, identifier, buffer))
