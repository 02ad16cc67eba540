"""Notices that files were replaced, and reports once that they cannot be used."""

from collections.abc import Iterable
from pathlib import Path

Version = tuple[int, ...]


def version(files: Iterable[Path]) -> Version:
    """Return a value that changes when a file is replaced; an empty one while a file is missing."""
    try:
        stats = [path.stat() for path in files]
    except OSError:
        return ()
    # The inode, too, because `cp -p` and backups restore old modification times. The size, too, because a
    # file that is written in place can change twice within one tick of the kernel's clock.
    return tuple(number for each in stats for number in (each.st_ino, each.st_mtime_ns, each.st_size))


class UnusableFiles:
    """Decides when unusable files are reported: once, and not while the next file may be replaced."""

    def __init__(self) -> None:
        self._seen: Version | None = None
        self._reported: Version | None = None

    def is_due(self, current: Version) -> bool:
        """Return whether to report that this version cannot be used: when it is seen for the second time."""
        is_new, self._seen = current != self._seen, current
        if is_new or current == self._reported:
            return False
        self._reported = current
        return True

    def clear(self) -> None:
        """Forget the version: the files can be used now."""
        self._seen = self._reported = None
