"""Functions of the C library that Python's standard library lacks."""

import ctypes
import errno
import functools
import itertools
import os

_PR_CAPBSET_DROP = 24  # include/uapi/linux/prctl.h


@functools.cache
def libc() -> ctypes.PyDLL:
    """Return the C library. Calls keep the GIL, because a vforked process can share this memory."""
    return ctypes.PyDLL(None, use_errno=True)


def checked(returned: int) -> int:
    """Return the result of a call.

    Raises:
        OSError: the result is negative. The error has the errno of the call.
    """
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


def prctl(option: int, value: int, second: int = 0) -> None:
    """Call prctl(2) with one or two arguments.

    Raises:
        OSError: the kernel refused.
    """
    arguments = (ctypes.c_ulong(each) for each in (value, second, 0, 0))
    checked(libc().prctl(ctypes.c_int(option), *arguments))


def empty_bounding_set() -> None:
    """Drop all capabilities from the bounding set. EINVAL marks the first number without a capability.

    Raises:
        OSError: this process lacks the privilege.
    """
    for number in itertools.count():
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if number == 0 or error.errno != errno.EINVAL:
                raise
            return
