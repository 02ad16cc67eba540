"""Removes a tree that a job has made: of any depth and any number of files, in constant memory.

A directory is renamed into the top of the tree before it is opened. So no path has more than two names, and
three descriptors suffice. Nothing outside of the tree is reached: symbolic links are not followed, and a
mount point cannot be renamed.

On a full disk, the top can have no room for another name. The removal of other directories makes room.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Interrupted(Exception):
    """Raised when a removal was asked to end early. A later one continues it."""


@dataclass
class TreeRemoval:
    """The removal of everything in the directory `top`, a descriptor.

    `interrupted` is called before each file and says whether to end early.
    """

    top: int
    interrupted: Callable[[], bool]
    _prefix: str = field(default_factory=lambda: os.urandom(8).hex(), init=False)
    """The begin of names that neither a job nor an interrupted removal has used."""
    _moves: int = field(default=0, init=False)
    _steps: int = field(default=0, init=False)
    """The number of removed entries, and of directories that were moved out of others."""

    def run(self) -> None:
        """Remove everything.

        Raises:
            Interrupted: `interrupted` returned true.
            OSError: the kernel refused a step, or the disk has no room for any further step.
        """
        while self._remove_entries():
            pass

    def _remove_entries(self) -> bool:
        """Remove the entries of the top for which there is room; return False if it had none."""
        found, before, refusal = False, self._steps, None
        for entry in self._entries(self.top):
            found = True
            try:
                self._remove_entry(entry)
            except OSError as error:
                if error.errno not in _NO_SPACE:
                    raise
                refusal = error
        if refusal and self._steps == before:
            raise refusal
        return found

    def _remove_entry(self, entry: os.DirEntry[str]) -> None:
        if entry.is_dir(follow_symlinks=False):
            is_moved = entry.name.startswith(self._prefix)
            self._remove_directory(entry.name if is_moved else self._move_to_top(self.top, entry.name))
        else:
            os.unlink(entry.name, dir_fd=self.top)
        self._steps += 1

    def _remove_directory(self, name: str) -> None:
        directory = os.open(name, _DIRECTORY, dir_fd=self.top)
        try:
            while self._dissolve(directory):
                pass
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=self.top)

    def _dissolve(self, directory: int) -> bool:
        """Remove the files of a directory, and move its subdirectories to the top.

        Return False if it had no entries. A scan can miss entries while others are removed.
        """
        found = False
        for entry in self._entries(directory):
            found = True
            if entry.is_dir(follow_symlinks=False):
                self._move_to_top(directory, entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
            self._steps += 1
        return found

    def _move_to_top(self, directory: int, name: str) -> str:
        unused = f"{self._prefix}-{self._moves}"
        os.rename(name, unused, src_dir_fd=directory, dst_dir_fd=self.top)
        self._moves += 1
        return unused

    def _entries(self, directory: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(directory) as entries:
            for entry in entries:
                if self.interrupted():
                    raise Interrupted
                yield entry
