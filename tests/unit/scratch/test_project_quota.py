"""Project quotas without a kernel that has them; see also `tests/contract/test_scratch_on_disk.py`."""

import pytest

from jobworkerd.scratch import project_quota


@pytest.mark.parametrize(
    ("project", "released"),
    [
        (0, False),
        (42, False),
        (project_quota.FIRST - 1, False),
        (project_quota.FIRST, True),
        (project_quota.FIRST + project_quota.COUNT - 1, True),
        (project_quota.FIRST + project_quota.COUNT, False),
    ],
)
def test_bounds_of_the_administrator_stay(
    project: int,
    released: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed: list[tuple[int, int, int]] = []
    monkeypatch.setattr(project_quota, "project_of", lambda _: project)
    monkeypatch.setattr(project_quota, "set_bounds", lambda *bounds: changed.append(bounds))
    project_quota.release_project(3)
    assert changed == ([(3, 0, 0)] if released else [])


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
