"""Project quotas for file systems without them, in place of `project_quota`."""

import os
from typing import Self

import pytest

from jobworkerd.scratch import project_quota


class FakeQuotas:
    """The bounds of directories, by inode. `used_bytes` counts the bytes of the files in a directory."""

    def __init__(self) -> None:
        self.bounds: dict[int, tuple[int, int]] = {}

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Replace the functions of `project_quota`."""
        made = cls()
        for name in ("assign_project", "set_bounds", "release_project", "used_bytes"):
            monkeypatch.setattr(project_quota, name, getattr(made, name))
        return made

    def assign_project(self, directory: int) -> None:
        self.bounds[os.fstat(directory).st_ino] = (0, 0)

    def set_bounds(self, directory: int, size: int, files: int) -> None:
        self.bounds[os.fstat(directory).st_ino] = (size, files)

    def release_project(self, directory: int) -> None:
        self.bounds.pop(os.fstat(directory).st_ino, None)

    def used_bytes(self, directory: int) -> int:
        walk = os.fwalk(".", dir_fd=directory)
        return sum(os.stat(name, dir_fd=fd).st_size for _, _, files, fd in walk for name in files)
