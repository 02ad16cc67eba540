"""The C library, for what Python's standard library has no function for."""

import ctypes
import errno
import functools
import itertools
import os

_PR_CAPBSET_DROP = 24  # include/uapi/linux/prctl.h


@functools.cache
def libc() -> ctypes.PyDLL:
    """Returns the library. Its calls keep the interpreter's lock: two processes may share one memory here."""
    return ctypes.PyDLL(None, use_errno=True)


def checked(returned: int) -> int:
    """Returns what a call returned.

    Raises:
        OSError: that is negative; with the call's errno.
    """
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


def prctl(option: int, value: int) -> None:
    """Calls prctl(2) with one argument.

    Raises:
        OSError: the kernel refused.
    """
    arguments = (ctypes.c_ulong(each) for each in (value, 0, 0, 0))
    checked(libc().prctl(ctypes.c_int(option), *arguments))


def empty_bounding_set() -> None:
    """Drops one capability after the other: EINVAL is for the first number that the kernel has none of.

    Raises:
        OSError: this process may not.
    """
    for number in itertools.count():
        try:
            prctl(_PR_CAPBSET_DROP, number)
        except OSError as error:
            if number == 0 or error.errno != errno.EINVAL:
                raise
            return
