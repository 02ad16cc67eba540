"""Reads and writes the control files of a cgroup. All errors name the file and the data."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jobworkerd.model import AppliedLimit

_READ_BYTES = 64 * 1024

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK, a write of a lower memory.max or memory.high blocks until memory is reclaimed (Linux
6.16). With it, the job reclaims memory at its next allocation. Other files ignore the flag.
"""


def write(cgroup: Path, file: str, data: str) -> None:
    """Write one value.

    Raises:
        OSError: the kernel refused the value. The message names the file and the value.
    """
    path = f"{cgroup}/{file}"
    try:
        control = os.open(path, _WRITE, 0o666)
        try:
            os.write(control, data.encode())
        finally:
            os.close(control)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} on writing {data!r}", path) from error


def read(cgroup: Path, file: str) -> str:
    """Return the text of a file without the line end.

    It avoids the overhead of pathlib, because dozens of files are read for each job.

    Raises:
        OSError: the file cannot be read. It is a FileNotFoundError if the kernel has no such file.
    """
    path = f"{cgroup}/{file}"
    control = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(partial(os.read, control, _READ_BYTES), b"")).decode().strip()
    except OSError as error:  # the error of a read has no file name
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(control)


def read_if_any(cgroup: Path, file: str, default: str) -> str:
    """Return the text of a file, or the default if the kernel has no such file."""
    try:
        return read(cgroup, file)
    except FileNotFoundError:
        return default


def subtree(cgroup: Path) -> Iterator[Path]:
    """Yield a cgroup and all cgroups below it, children first, as rmdir(2) requires."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        yield Path(directory)


def set_and_read_back(cgroup: Path, limit: str, file: str, wanted: str | int) -> AppliedLimit:
    """Write the value of a limit and return the value that the kernel holds then.

    Raises:
        OSError: the kernel refused the value.
    """
    write(cgroup, file, str(wanted))
    value = read(cgroup, file)
    reason = "" if value == str(wanted) else f"the kernel changed {wanted!r} to {value!r}"
    return AppliedLimit(limit=limit, in_force=not reason, file=file, value=value, reason=reason)


def read_keyed(cgroup: Path, file: str) -> dict[str, int]:
    """Return the `key value` lines of a file ("flat keyed" on the kernel's page); empty without the file."""
    try:
        lines = read(cgroup, file).splitlines()
    except FileNotFoundError:
        return {}
    return {key: int(value) for key, value in (line.split() for line in lines)}


def read_number(cgroup: Path, file: str) -> int | None:
    """Return the number in a file; None if the kernel has no such file."""
    try:
        return int(read(cgroup, file))
    except FileNotFoundError:
        return None
