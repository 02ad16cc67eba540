"""Installs the system call filter of a job, seccomp(2).

The fork server loads this module, so it imports little (see `fork_server`). See `seccomp_program` for the
filter.
"""

import ctypes
import errno
import os

from jobworkerd.libc import checked, libc

_SECCOMP = {"x86_64": 317, "aarch64": 277}
"""The number of seccomp(2) by machine."""

# include/uapi/linux/seccomp.h
_SET_MODE_FILTER = 1
_SPEC_ALLOW = 4
"""Without this flag, Linux before 5.16 slows processes with a filter down (Spectre)."""

_INSTRUCTION_BYTES = 8


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def check(program: bytes, *, fixed_privileges: bool) -> None:
    """Check that this process can install a filter later, as any user.

    Raises:
        OSError: the process can gain privileges (EACCES), the kernel has no filters (EINVAL, ENOSYS), or
            `program` is empty because the machine is not supported (EOPNOTSUPP).
    """
    if not fixed_privileges:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if not program:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    try:
        _set_filter(None)
    except OSError as error:
        if error.errno != errno.EFAULT:  # the kernel wants to read the program
            raise


def install(program: bytes) -> None:
    """Filter the system calls of this process and its later children. The filter cannot be removed.

    Raises:
        OSError: the kernel refused.
    """
    _set_filter(ctypes.byref(_Program(len(program) // _INSTRUCTION_BYTES, program)))


def _set_filter(program: object) -> None:
    number = ctypes.c_long(_SECCOMP[os.uname().machine])
    checked(libc().syscall(number, ctypes.c_ulong(_SET_MODE_FILTER), ctypes.c_ulong(_SPEC_ALLOW), program))
