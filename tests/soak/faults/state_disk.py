"""A small disk for the state of the server, which a test can fill and free."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_MIB = 768
"""The logs that the test keeps need a tenth of it."""


class StateDisk:
    """A tmpfs on the state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @classmethod
    @contextlib.contextmanager
    def mounted(cls, path: Path) -> Iterator["StateDisk"]:
        """Mount the disk until the end of the context."""
        path.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_MIB}m,mode=0700", "soak", path], check=True)
        try:
            yield cls(path)
        finally:
            subprocess.run(["umount", path], check=True)

    def fill(self) -> None:
        """Take all free space."""
        descriptor = os.open(self._filler, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            page = os.sysconf("SC_PAGE_SIZE")
            at = os.fstat(descriptor).st_size
            step = os.fstatvfs(descriptor).f_bavail * page
            while step >= page:
                try:
                    os.posix_fallocate(descriptor, at, step)
                except OSError:
                    step = step // 2 // page * page
                else:
                    at += step
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Free the space again."""
        self._filler.unlink(missing_ok=True)

    @property
    def used_mib(self) -> float:
        """The space in use in MiB."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize / (1 << 20)
