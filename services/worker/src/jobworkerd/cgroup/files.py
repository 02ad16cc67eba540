"""Reading and writing the control files of a cgroup, with the file and the data in every error."""

from pathlib import Path


def write(cgroup: Path, file: str, data: str) -> None:
    """Writes one value.

    Raises:
        OSError: the kernel refused it; the error's text names the file and the value.
    """
    try:
        (cgroup / file).write_text(data)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} on writing {data!r}", str(cgroup / file)) from error


def read(cgroup: Path, file: str) -> str:
    """Returns a file's text without the line end.

    Raises:
        OSError: it cannot be read; FileNotFoundError where this kernel has no such file.
    """
    return (cgroup / file).read_text().strip()


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
