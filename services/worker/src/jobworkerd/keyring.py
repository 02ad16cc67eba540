"""Kernel keyrings, keyrings(7): keys that a process can read without any file.

A session keyring is inherited over fork(2) and execve(2), whatever user the process becomes. A user keyring
belongs to a UID and outlives its processes.
"""

import contextlib
import ctypes
import errno
import os

from jobworkerd.libc import checked, libc

_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
"""The system call's number; 219 is that of include/uapi/asm-generic/unistd.h."""

# include/uapi/linux/keyctl.h
_JOIN_SESSION_KEYRING, _CLEAR, _LINK, _GET_PERSISTENT = 1, 7, 8, 22
_PROCESS, _USER, _USER_SESSION = -2, -4, -5

_KEY_USERS = "/proc/key-users"

_NO_KEYS = {errno.ENOSYS, errno.EPERM}
"""The kernel has no keyrings, or a seccomp filter denies them to this process and all that it starts."""


def join_new_session() -> None:
    """Replaces this process's session keyring with a new, empty one that belongs to its user.

    Raises:
        OSError: the user's quota of keys is used up (EDQUOT), or this machine's number of the system call is
            not known (EOPNOTSUPP).
    """
    try:
        _keyctl(_JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in _NO_KEYS:
            raise


def clear_leftovers(uid: int) -> None:
    """Empties the keyrings that earlier processes of this process's user have left.

    Looking up a user's keyrings makes them, and the kernel keeps them from then on. So this looks up those of
    a user that has keys, and no others.

    Raises:
        OSError: the kernel refuses.
    """
    if not _has_keys(uid):
        return
    with contextlib.suppress(OSError):  # not every kernel has persistent keyrings
        _keyctl(_CLEAR, _keyctl(_GET_PERSISTENT, -1, _PROCESS))
    for keyring in (_USER, _USER_SESSION):
        _keyctl(_CLEAR, keyring)
    _keyctl(_LINK, _USER, _USER_SESSION)


def _has_keys(uid: int) -> bool:
    try:
        with open(_KEY_USERS, "rb", buffering=0) as file:  # noqa: PTH123 - see `forkserver`: it is kept small
            users = file.readall()
    except FileNotFoundError:  # a kernel without keyrings
        return False
    return any(line.partition(b":")[0].strip() == b"%d" % uid for line in users.splitlines())


def _keyctl(command: int, *arguments: int) -> int:
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    values = [ctypes.c_ulong(each) for each in (command, *arguments)]
    return checked(libc().syscall(ctypes.c_long(number), *values))
