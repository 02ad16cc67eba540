"""Replaces the program of the keeper by another version. execve(2) keeps PID, children and descriptors.

A new version that cannot start would end all jobs, so a child process loads it before.
"""

import os
import sys
import time
from collections.abc import Sequence

from jobworkerd.keeper import memory_file
from jobworkerd.keeper.children import Children
from jobworkerd.keeper.connection import PREPARE_SECONDS
from jobworkerd.keeper.descriptors import all_descriptors
from jobworkerd.keeper.inheritance import set_inheritable
from jobworkerd.keeper.kept_state import KeptState
from jobworkerd.keeper.reload import fingerprint

_PROGRAM = (sys.executable, "-P", "-m", "jobworkerd.keeper")


class Replacement:
    """Finds out whether another version is installed, and whether it can be loaded."""

    def __init__(self, children: Children) -> None:
        self.check: int | None = None
        """The PID of the child that loads the installed version."""
        self.deadline: float | None = None
        """The time until which the child must have ended."""
        self._children = children
        self._source = fingerprint()

    def needed(self) -> bool:
        """Return whether another version is installed than the one that runs."""
        return fingerprint() != self._source

    def start_check(self) -> bool:
        """Load the installed version in a child; return False if the host is exhausted."""
        try:
            with all_descriptors():
                self.check = self._children.spawn((*_PROGRAM, "--check"), [])
        except OSError:
            return False
        self.deadline = time.monotonic() + PREPARE_SECONDS
        return True

    def checked(self) -> None:
        """Note the end of the child."""
        self.check = self.deadline = None

    def give_up(self) -> None:
        """Do not try the installed version again."""
        self._source = fingerprint()


def execute(state: KeptState, arguments: Sequence[str]) -> None:
    """Execute the installed version, which continues with a state and its descriptors.

    The caller has blocked all signals: none must arrive while the new program has no handler.

    Raises:
        OSError: the host is exhausted. Nothing has changed.
    """
    with all_descriptors():
        file = memory_file.create("jobworkerd-keeper", state.encode(), inheritable=True)
    try:
        set_inheritable(state.descriptors(), inheritable=True)
        argv = [*_PROGRAM, "--table-fd", str(file), *arguments]
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    except OSError:
        os.close(file)
        set_inheritable(state.descriptors(), inheritable=False)
        raise
