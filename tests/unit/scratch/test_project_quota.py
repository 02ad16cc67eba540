"""Project quotas without a kernel that has them; see also `tests/contract/test_scratch_on_disk.py`."""

import errno

import pytest

from jobworkerd.scratch import project_quota

FIRST, COUNT = project_quota.FIRST, project_quota.COUNT


class Kernel:
    """The quotas of a file system: the space and the files that each project uses."""

    def __init__(self, **used: tuple[int, int]) -> None:
        self.used = {int(project.removeprefix("p")): use for project, use in used.items()}
        self.bounds: dict[int, tuple[int, int]] = {}

    def quotactl(self, _directory: int, command: int, project: int, data: bytearray) -> None:
        if command == project_quota._GET_QUOTA:
            if project not in self.used:
                raise OSError(errno.ENOENT, "unknown")
            space, files = self.used[project]
            data[:] = project_quota._QUOTA.pack(0, 0, space, 0, 0, files, 0, 0, 0)
        elif command == project_quota._GET_NEXT_QUOTA:
            following = [each for each in sorted(self.used) if each >= project]
            if not following:
                raise OSError(errno.ENOENT, "no more")
            data[:] = project_quota._NEXT_QUOTA.pack(*[0] * 9, following[0])
        else:
            blocks, _, _, files, *_ = project_quota._QUOTA.unpack(data)
            self.bounds[project] = (blocks, files)


@pytest.mark.parametrize("project", [0, 42, FIRST - 1, FIRST + COUNT])
def test_bounds_of_the_administrator_stay(project: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(**{f"p{project}": (0, 0)})
    monkeypatch.setattr(project_quota, "_quotactl", kernel.quotactl)
    assert project_quota.release(3, project)
    assert kernel.bounds == {}


@pytest.mark.parametrize("use", [(4096, 1), (0, 1), (1024, 0)])
def test_a_project_with_a_file_keeps_its_bounds(
    use: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(**{f"p{FIRST}": use})
    monkeypatch.setattr(project_quota, "_quotactl", kernel.quotactl)
    assert not project_quota.release(3, FIRST)
    assert kernel.bounds == {}


@pytest.mark.parametrize("kernel", [Kernel(), Kernel(**{f"p{FIRST + COUNT - 1}": (0, 0)})])
def test_a_project_without_files_is_released(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_quota, "_quotactl", kernel.quotactl)
    assert project_quota.release(3, FIRST + COUNT - 1)
    assert kernel.bounds == {FIRST + COUNT - 1: (0, 0)}


def test_only_projects_of_jobs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    of_jobs = [FIRST, FIRST + 7, FIRST + COUNT - 1]
    kernel = Kernel(**{f"p{each}": (1, 1) for each in (5, *of_jobs, FIRST + COUNT)})
    monkeypatch.setattr(project_quota, "_quotactl", kernel.quotactl)
    assert [*project_quota.projects(3)] == of_jobs


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, "has no project quotas (Function not implemented)"),
        ({"flags": 1 << 4}, "does not enforce project quotas"),
        ({"flags": 1 << 4 | 1 << 5}, ""),
    ],
)
def test_only_enforced_quotas_suffice(
    found: dict[str, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_directory: int, _command: int, _project: int, state: bytearray) -> None:
        if not found:
            raise OSError(38, "Function not implemented")
        state[2:4] = found["flags"].to_bytes(2, "little")

    monkeypatch.setattr(project_quota, "_quotactl", answer)
    assert project_quota.problem(3) == expected
