"""Project quotas for file systems without them, in place of `project_quota`."""

import os
from typing import Self

import pytest

from jobworkerd.scratch import project_quota


class FakeQuotas:
    """The bounds of projects. The project of a directory is its inode.

    `used_bytes` counts the bytes of the files in a directory. Projects in `in_use` have a file that is open.
    """

    def __init__(self) -> None:
        self.bounds: dict[int, tuple[int, int]] = {}
        self.in_use: set[int] = set()

    @classmethod
    def install(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Replace the functions of `project_quota`."""
        made = cls()
        for name in ("assign_project", "set_bounds", "used_bytes", "project_of", "projects", "release"):
            monkeypatch.setattr(project_quota, name, getattr(made, name))
        return made

    def assign_project(self, directory: int) -> None:
        self.bounds[self.project_of(directory)] = (0, 0)

    def set_bounds(self, directory: int, size: int, files: int) -> None:
        self.bounds[self.project_of(directory)] = (size, files)

    def project_of(self, directory: int) -> int:
        return os.fstat(directory).st_ino

    def projects(self, _: int) -> list[int]:
        return [*self.bounds]

    def release(self, _: int, project: int) -> bool:
        if project not in self.in_use:
            self.bounds.pop(project, None)
        return project not in self.in_use

    def used_bytes(self, directory: int) -> int:
        walk = os.fwalk(".", dir_fd=directory)
        return sum(os.stat(name, dir_fd=fd).st_size for _, _, files, fd in walk for name in files)
