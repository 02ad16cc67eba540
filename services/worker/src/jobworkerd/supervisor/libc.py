"""The C library, for what Python's standard library has no function for."""

import ctypes
import functools
import os


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
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return returned
