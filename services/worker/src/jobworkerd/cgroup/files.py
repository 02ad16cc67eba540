"""Reading and writing the control files of a cgroup, with the file and the data in every error."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from jobworkerd.model import AppliedLimit

_READ_BYTES = 64 * 1024

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK the writer of a lower memory.max or memory.high reclaims what is above it (Linux 6.16);
with it the job does, when it next asks for memory. Other files ignore the flag.
"""


def write(cgroup: Path, file: str, data: str) -> None:
    """Writes one value.

    Raises:
        OSError: the kernel refused it; the error's text names the file and the value.
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
    """Returns a file's text without the line end.

    These files are read by the dozen for each job, so this takes the shortest way.

    Raises:
        OSError: it cannot be read; FileNotFoundError where this kernel has no such file.
    """
    path = f"{cgroup}/{file}"
    control = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(partial(os.read, control, _READ_BYTES), b"")).decode().strip()
    except OSError as error:  # a read names no file
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(control)


def read_if_any(cgroup: Path, file: str, default: str) -> str:
    """Returns a file's text, or the default where this kernel has no such file."""
    try:
        return read(cgroup, file)
    except FileNotFoundError:
        return default


def subtree(cgroup: Path) -> Iterator[Path]:
    """Yields a cgroup and those below it, children before parents: in the order that rmdir(2) needs."""
    for directory, _, _ in os.walk(cgroup, topdown=False):
        yield Path(directory)


def set_and_read_back(cgroup: Path, limit: str, file: str, wanted: str | int) -> AppliedLimit:
    """Writes a limit's value and returns what the kernel made of it.

    Raises:
        OSError: the kernel refused it.
    """
    write(cgroup, file, str(wanted))
    value = read(cgroup, file)
    reason = "" if value == str(wanted) else f"the kernel made {value!r} of {wanted!r}"
    return AppliedLimit(limit=limit, in_force=not reason, file=file, value=value, reason=reason)


def read_keyed(cgroup: Path, file: str) -> dict[str, int]:
    """Returns a file of `key value` lines ("flat keyed" on the kernel's page); empty if there is none."""
    try:
        lines = read(cgroup, file).splitlines()
    except FileNotFoundError:
        return {}
    return {key: int(value) for key, value in (line.split() for line in lines)}


def read_number(cgroup: Path, file: str) -> int | None:
    """Returns a file of one number; None if this kernel has no such file."""
    try:
        return int(read(cgroup, file))
    except FileNotFoundError:
        return None
