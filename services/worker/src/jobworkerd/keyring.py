"""Kernel keyrings, keyrings(7), which hold keys that a process can read without a file.

Processes inherit a session keyring over fork(2) and execve(2), even if they change their user. A user keyring
belongs to a UID and outlives the processes of that UID.
"""

import contextlib
import ctypes
import errno
import os

from jobworkerd.libc import checked, libc

_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
"""The number of keyctl(2) by machine; 219 is in include/uapi/asm-generic/unistd.h."""

# include/uapi/linux/keyctl.h
_JOIN_SESSION_KEYRING, _CLEAR, _LINK, _GET_PERSISTENT = 1, 7, 8, 22
_PROCESS, _USER, _USER_SESSION = -2, -4, -5

_KEY_USERS = "/proc/key-users"

_NO_KEYS = {errno.ENOSYS, errno.EPERM}
"""The kernel lacks keyrings, or a seccomp filter denies them to this process and its children."""


def join_new_session() -> None:
    """Replace this process's session keyring with a new, empty one that belongs to its user.

    Raises:
        OSError: the user's quota of keys is used up (EDQUOT), or the number of keyctl(2) on this machine is
            unknown (EOPNOTSUPP).
    """
    try:
        _keyctl(_JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in _NO_KEYS:
            raise


def clear_leftovers(uid: int) -> None:
    """Clear the keyrings that earlier processes of this process's user left behind.

    A lookup creates the keyrings of a user, and the kernel keeps them. They are therefore looked up only for
    a user that has keys.

    Raises:
        OSError: the kernel refused.
    """
    if not _has_keys(uid):
        return
    with contextlib.suppress(OSError):  # some kernels lack persistent keyrings
        _keyctl(_CLEAR, _keyctl(_GET_PERSISTENT, -1, _PROCESS))
    for keyring in (_USER, _USER_SESSION):
        _keyctl(_CLEAR, keyring)
    _keyctl(_LINK, _USER, _USER_SESSION)


def _has_keys(uid: int) -> bool:
    try:
        with open(_KEY_USERS, "rb", buffering=0) as file:  # noqa: PTH123 - avoids the import of pathlib
            users = file.readall()
    except FileNotFoundError:  # the kernel lacks keyrings
        return False
    return any(line.partition(b":")[0].strip() == b"%d" % uid for line in users.splitlines())


def _keyctl(command: int, *arguments: int) -> int:
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    values = [ctypes.c_ulong(each) for each in (command, *arguments)]
    return checked(libc().syscall(ctypes.c_long(number), *values))
