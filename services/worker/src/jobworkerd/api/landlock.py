"""Forbids writing to files with Landlock (docs.kernel.org/userspace-api/landlock.html).

An unprivileged user can still write to world-writable directories such as /tmp. A process with these rules
cannot. Open files such as stderr are not affected.
"""

import ctypes
import os
from contextlib import suppress

from jobworkerd.libc import checked, libc

# The same on all architectures but Alpha (include/uapi/asm-generic/unistd.h).
_CREATE_RULESET = 444
_RESTRICT_SELF = 446

_VERSION = 1
"""The flag to get the version of the interface."""

# include/uapi/linux/landlock.h
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4  # REMOVE_DIR to MAKE_SYM
_TRUNCATE = 1 << 14
_TRUNCATE_SINCE = 3


def forbid_writing() -> None:
    """Permanently forbids this thread and its future threads to execute, write, create and remove files.

    Does nothing if the kernel does not support Landlock. no_new_privs must be set.
    """
    with suppress(OSError):
        version = _call(_CREATE_RULESET, None, 0, _VERSION)
        ruleset = _create(_rights(version))
        try:
            _call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)


def _rights(version: int) -> int:
    rights = _EXECUTE | _WRITE_FILE | _REMOVE_AND_MAKE
    return rights | _TRUNCATE if version >= _TRUNCATE_SINCE else rights


def _create(rights: int) -> int:
    """Return a ruleset without exceptions."""
    handled = ctypes.c_uint64(rights)
    return _call(_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)


def _call(number: int, *arguments: object) -> int:
    converted = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return checked(libc().syscall(ctypes.c_long(number), *converted))
