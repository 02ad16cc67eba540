"""Tries to leave the quota of the scratch. A job executes this file with its own and a shared directory.

It prints the result of each attempt, then the error that ended a large file, and the size of that file.
"""

import ctypes
import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

# include/uapi/linux/fs.h
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_FSSETXATTR, FS_IOC_SET_ENCRYPTION_POLICY = 0x401C5820, 0x800C6613
FS_PROJINHERIT_FL = 0x20000000
AT_EMPTY_PATH, CLONE_NEWUSER, SET_PROJECT_QUOTA = 0x1000, 0x10000000, 0x800008 << 8 | 2
FILE_SETATTR, QUOTACTL_FD = 469, 443
UNSHARE = 272 if os.uname().machine == "x86_64" else 97
MIB = 1 << 20


def system_call(number: int, *arguments: object) -> None:
    """Call the kernel.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def set_project(directory: int) -> None:
    fcntl.ioctl(directory, FS_IOC_FSSETXATTR, bytes(28))


def stop_inheritance(directory: int) -> None:
    (flags,) = struct.unpack("=q", fcntl.ioctl(directory, FS_IOC_GETFLAGS, bytes(8)))
    fcntl.ioctl(directory, FS_IOC_SETFLAGS, struct.pack("=q", flags & ~FS_PROJINHERIT_FL))


def set_attributes(directory: int) -> None:
    system_call(FILE_SETATTR, directory, b"", bytes(24), ctypes.c_size_t(24), AT_EMPTY_PATH)


def encrypt(directory: int) -> None:
    fcntl.ioctl(directory, FS_IOC_SET_ENCRYPTION_POLICY, bytes(24))


def raise_bound(directory: int) -> None:
    system_call(QUOTACTL_FD, directory, SET_PROJECT_QUOTA, 0, bytes(72))


def write_until_refused(path: Path) -> None:
    """Print the error that ends a growing file, and its size."""
    written = 0
    try:
        with path.open("wb", buffering=0) as file:
            while written < 64 * MIB:
                written += file.write(bytes(MIB))
    except OSError as error:
        print(errno.errorcode[error.errno or 0])
    print(written)


def main() -> None:
    own, shared = map(Path, sys.argv[1:])
    (own / "directory").mkdir()
    (own / "file").touch()
    directory = os.open(own / "directory", os.O_RDONLY)
    attempts: dict[str, Callable[[], object]] = {
        "set the project": lambda: set_project(directory),
        "stop the inheritance": lambda: stop_inheritance(directory),
        "set the attributes": lambda: set_attributes(directory),
        "encrypt a directory": lambda: encrypt(directory),
        "raise the bound": lambda: raise_bound(directory),
        "enter a user namespace": lambda: system_call(UNSHARE, CLONE_NEWUSER),
        "move a file": lambda: (own / "file").rename(shared / "file"),
        "link a file": lambda: os.link(own / "file", shared / "file"),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
            print(name, "succeeded")
        except OSError as error:
            print(name, errno.errorcode[error.errno or 0])
    write_until_refused(own / "directory/big")


if __name__ == "__main__":
    main()
