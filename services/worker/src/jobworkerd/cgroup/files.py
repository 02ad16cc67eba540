"""Reading and writing the control files of a cgroup, with the file and the data in every error."""

import os
from collections.abc import Iterator
from pathlib import Path

from jobworkerd.model import AppliedLimit


def write(cgroup: Path, file: str, data: str) -> None:
    """Writes one value.

    Raises:
        OSError: the kernel refused it; the error's text names the file and the value.
    """
    try:
        with open(cgroup / file, "w", opener=_nonblocking) as control:
            control.write(data)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} on writing {data!r}", str(cgroup / file)) from error


def _nonblocking(path: str, flags: int) -> int:
    """Opens so that a lower memory.max or memory.high does not have the writer reclaim what is above it
    (Linux 6.16; the job does when it next asks for memory). Other files and older kernels know no difference.
    """
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def read(cgroup: Path, file: str) -> str:
    """Returns a file's text without the line end.

    Raises:
        OSError: it cannot be read; FileNotFoundError where this kernel has no such file.
    """
    return (cgroup / file).read_text().strip()


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
