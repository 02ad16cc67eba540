"""Unpack an archive from a job, which can be hostile, into a new file or directory."""

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["Refused", "unpack"]

COPY_BYTES = 1 << 20
# File systems accept all times up to this one, 36,000 years from now.
MAX_TIME = 1 << 40
# Python creates and removes directories recursively.
MAX_DEPTH = 200

Parts = tuple[str, ...]


class Refused(ValueError):
    """The archive has a member that could have an effect outside of the destination."""


def unpack(archive: IO[bytes], destination: Path, *, directory: bool) -> None:
    """Unpack a directory, or the only file of an archive, and move it to the destination.

    Raises:
        Refused: a member is unsafe. Nothing is left.
        OSError: a file cannot be written, or the destination is a directory. Nothing is left.
        tarfile.TarError, OverflowError, MemoryError: it is not a valid archive. Nothing is left.
    """
    umask = _umask()
    # No other user can open it, and all it contains comes from `_Tree`. So no link can redirect a member.
    root = Path(tempfile.mkdtemp(prefix=".jobworker-", dir=destination.parent))
    try:
        tree = _Tree(root, umask)
        with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="surrogateescape") as members:
            for member in _members(members):
                tree.add(members, member)
        tree.finish()
        if directory:
            root.rename(destination)
        else:
            _only_file(root).replace(destination)
    except BaseException:
        _remove(root)
        raise
    if not directory:
        root.rmdir()


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        yield member
        vars(archive)["members"].clear()  # the archive keeps all of them otherwise


def _only_file(root: Path) -> Path:
    files = list(root.iterdir())
    if len(files) != 1 or not files[0].is_file():
        raise Refused("the archive is not that of one file")
    return files[0]


def _remove(root: Path) -> None:
    """Remove a tree whose directories can have any mode."""
    root.chmod(0o700)
    for directory, names, _ in os.walk(root):
        for path in (Path(directory, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)


class _Tree:
    """A directory that grows member by member. Links and modes of directories are last.

    So every path consists of directories of this tree while members are written.
    """

    def __init__(self, root: Path, umask: int) -> None:
        self._root = root
        self._umask = umask
        self._links: dict[Parts, tarfile.TarInfo] = {}
        self._directories: dict[Parts, tarfile.TarInfo] = {}

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write a member, or remember it for `finish`."""
        parts = _parts(member.name)
        if member.isdir():
            self._path(parts).mkdir(parents=True, exist_ok=True)
            self._directories[parts] = member
        elif member.issym():
            self._add_link(member, parts)
        elif member.islnk():
            self._add_hard_link(member, parts)
        elif member.isreg() and not member.issparse():
            self._write(archive, member, self._new(parts))
        else:
            raise Refused(f"{member.name!r} is not a file, a directory or a link")

    def finish(self) -> None:
        """Create the links, and set the modes of the directories."""
        for parts, member in self._links.items():
            path = self._path(parts)
            path.symlink_to(member.linkname)
            os.utime(path, _times(member), follow_symlinks=False)
        for parts in sorted(self._directories, key=len, reverse=True):
            member, path = self._directories[parts], self._path(parts)
            os.utime(path, _times(member))
            path.chmod(self._mode(member))

    def _add_link(self, member: tarfile.TarInfo, parts: Parts) -> None:
        _check_target(member, parts)
        # Its directory exists before the first link, so that no link can take the place of the directory.
        self._new(parts)
        self._links[parts] = member

    def _add_hard_link(self, member: tarfile.TarInfo, parts: Parts) -> None:
        target = _parts(member.linkname)
        if target in self._links:
            member.linkname = self._links[target].linkname
            self._add_link(member, parts)
        else:
            self._new(parts).hardlink_to(self._path(target))

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        source = archive.extractfile(member)
        assert source is not None, "a regular file has content"
        with path.open("xb") as file:
            shutil.copyfileobj(source, file, COPY_BYTES)
            os.fchmod(file.fileno(), self._mode(member))
        os.utime(path, _times(member))

    def _new(self, parts: Parts) -> Path:
        """Return the path of a member that is not a directory, and create its directory."""
        if not parts:
            raise Refused("the archive has a file in place of its directory")
        path = self._path(parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _path(self, parts: Parts) -> Path:
        return self._root.joinpath(*parts)

    def _mode(self, member: tarfile.TarInfo) -> int:
        return member.mode & 0o777 & ~self._umask


def _parts(name: str) -> Parts:
    """Return the components of the name of a member.

    Raises:
        Refused: the name leads out of the destination, or is too deep.
    """
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise Refused(f"{name!r} leads out of the destination")
    if len(parts) > MAX_DEPTH:
        raise Refused(f"a member is below more than {MAX_DEPTH} directories")
    return parts


def _check_target(member: tarfile.TarInfo, parts: Parts) -> None:
    """Check the target of a symbolic link: `..` only at its beginning, and not above the destination.

    `..` after a name is refused, because the name can be a link itself: its parent is elsewhere.
    """
    target = [part for part in member.linkname.split("/") if part not in {"", "."}]
    up = 0
    while up < len(target) and target[up] == "..":
        up += 1
    safe = up < len(parts) and ".." not in target[up:]
    if not safe or member.linkname.startswith("/") or "\0" in member.linkname:
        raise Refused(f"the link {member.name!r} to {member.linkname!r} leads out of the destination")


def _times(member: tarfile.TarInfo) -> tuple[float, float]:
    time = min(max(float(member.mtime), 0), MAX_TIME)
    return time, time


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
