"""Removes a tree that a job has made: of any depth and any number of files, in constant memory.

A directory is renamed into the top of the tree before it is opened. So no path has more than two names, and
three descriptors suffice. Nothing outside of the tree is reached: symbolic links are not followed, and a
mount point cannot be renamed.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Interrupted(Exception):
    """Raised when a removal was asked to end early. A later one continues it."""


@dataclass(frozen=True)
class TreeRemoval:
    """The removal of everything in the directory `top`, a descriptor.

    `interrupted` is called before each file and says whether to end early.
    """

    top: int
    interrupted: Callable[[], bool]

    def run(self) -> None:
        """Remove everything.

        Raises:
            Interrupted: `interrupted` returned true.
            OSError: the kernel refused a step.
        """
        names = _unused_names()
        while self._remove_entries(names):
            pass

    def _remove_entries(self, names: Iterator[str]) -> bool:
        """Remove the entries of the top, or the files in them; return False if it had none."""
        found = False
        for entry in self._entries(self.top):
            found = True
            if entry.is_dir(follow_symlinks=False):
                name = self._move_to_top(self.top, entry.name, names)
                self._remove_directory(name, names)
            else:
                os.unlink(entry.name, dir_fd=self.top)
        return found

    def _remove_directory(self, name: str, names: Iterator[str]) -> None:
        directory = os.open(name, _DIRECTORY, dir_fd=self.top)
        try:
            while self._dissolve(directory, names):
                pass
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=self.top)

    def _dissolve(self, directory: int, names: Iterator[str]) -> bool:
        """Remove the files of a directory, and move its subdirectories to the top.

        Return False if it had no entries. A scan can miss entries while others are removed.
        """
        found = False
        for entry in self._entries(directory):
            found = True
            if entry.is_dir(follow_symlinks=False):
                self._move_to_top(directory, entry.name, names)
            else:
                os.unlink(entry.name, dir_fd=directory)
        return found

    def _move_to_top(self, directory: int, name: str, names: Iterator[str]) -> str:
        unused = next(names)
        os.rename(name, unused, src_dir_fd=directory, dst_dir_fd=self.top)
        return unused

    def _entries(self, directory: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(directory) as entries:
            for entry in entries:
                if self.interrupted():
                    raise Interrupted
                yield entry


def _unused_names() -> Iterator[str]:
    """Yield names that neither a job nor an interrupted removal has used."""
    prefix = os.urandom(8).hex()
    return (f"{prefix}-{number}" for number in itertools.count())
