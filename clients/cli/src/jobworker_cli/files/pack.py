"""Pack local files into an archive whose size is known before it is sent."""

import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from jobworker_cli.errors import CliError, describe_os_error
from jobworker_cli.files.script import BLOCK_BYTES

__all__ = ["Archive", "UploadFailed"]

# Many small files are sent together.
PIECE_BYTES = 16 * BLOCK_BYTES
RECORD_BYTES = 512
# Two empty records.
END_BYTES = 2 * RECORD_BYTES

TYPES = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}


class UploadFailed(CliError):
    """A file changed or became unreadable while it was sent."""


class Archive:
    """The archive of a file or directory, in the format that the tar of GNU and of BusyBox read.

    Symbolic links are packed as links, except the source itself. Devices, pipes and sockets are refused.
    """

    def __init__(self, source: Path, name: str) -> None:
        """Find all files. Without a name, only the content of the directory `source` is packed.

        Raises:
            OSError: a file or directory cannot be read.
            ValueError: there is a file of another type.
        """
        self._members = list(_find(source, name))
        size = sum(len(_header(info)) + _padded(info.size, RECORD_BYTES) for _, info in self._members)
        self.blocks = _padded(size + END_BYTES, BLOCK_BYTES) // BLOCK_BYTES
        self.size = self.blocks * BLOCK_BYTES

    def read(self) -> Iterator[bytes]:
        """Yield the bytes of the archive in large pieces.

        Raises:
            UploadFailed: a file has become shorter, or cannot be read.
        """
        buffer, size = bytearray(), 0
        for path, info in self._members:
            for data in _member(path, info):
                buffer += data
                if len(buffer) >= PIECE_BYTES:
                    yield bytes(buffer)
                    size += len(buffer)
                    buffer.clear()
        yield bytes(buffer).ljust(self.size - size, b"\0")


def _find(source: Path, name: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the path and the description of each member; a directory is before its content."""
    if name:
        yield str(source), _info(str(source), name, source.stat())
    pending = [(str(source), f"{name}/" if name else "")] if source.is_dir() else []
    while pending:
        directory, prefix = pending.pop()
        for entry in _entries(directory):
            yield entry.path, _info(entry.path, prefix + entry.name, entry.stat(follow_symlinks=False))
            if entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, f"{prefix}{entry.name}/"))


def _entries(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _info(path: str, name: str, status: os.stat_result) -> tarfile.TarInfo:
    """Return the description of a member. Its owner is the user of the job, so it names none."""
    kind = TYPES.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        raise ValueError(
            f"{path!r} is a device, a pipe or a socket; upload files, directories and links only"
        )
    info = tarfile.TarInfo(f"./{name}")
    info.type = kind
    info.mode = status.st_mode & 0o777
    info.mtime = int(status.st_mtime)
    if kind == tarfile.REGTYPE:
        info.size = status.st_size
    elif kind == tarfile.SYMTYPE:
        info.linkname = os.readlink(path)  # noqa: PTH115 - unchanged, Path would normalize it
    return info


def _member(path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
    yield _header(info)
    if info.isreg():
        yield from _content(path, info.size)
        yield bytes(_padded(info.size, RECORD_BYTES) - info.size)


def _content(path: str, size: int) -> Iterator[bytes]:
    """Yield as many bytes as the header says, although the file may grow."""
    try:
        with Path(path).open("rb") as file:
            while size:
                data = file.read(min(size, PIECE_BYTES))
                if not data:
                    raise UploadFailed(
                        f"--upload: {path} became shorter while it was sent; the job is stopped"
                    )
                size -= len(data)
                yield data
    except OSError as error:
        raise UploadFailed(f"--upload: {describe_os_error(error)}; the job is stopped") from error


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
