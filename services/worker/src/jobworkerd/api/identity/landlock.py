"""Landlock (docs.kernel.org/userspace-api/landlock.html): no file can be opened for writing any more.

An unprivileged user can still write where everybody can, as in /tmp; a process under these rules cannot.
What is open stays open, so stderr still is.
"""

import ctypes
import os
from contextlib import suppress

from jobworkerd.libc import checked, libc

# The same on all architectures but Alpha (include/uapi/asm-generic/unistd.h).
_CREATE_RULESET = 444
_RESTRICT_SELF = 446

_VERSION = 1
"""The flag that asks for the version of the interface instead."""

# include/uapi/linux/landlock.h
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = 0b1_1111_1111 << 4  # REMOVE_DIR to MAKE_SYM
_TRUNCATE = 1 << 14
_TRUNCATE_SINCE = 3


def forbid_writing() -> None:
    """Takes the right to execute, write, make, truncate and remove files, for good, from this thread and
    those to come. Does nothing where the kernel cannot; the thread has no_new_privs set.
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
    """Returns a set of rules that has no exceptions."""
    handled = ctypes.c_uint64(rights)
    return _call(_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)


def _call(number: int, *arguments: object) -> int:
    converted = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return checked(libc().syscall(ctypes.c_long(number), *converted))
