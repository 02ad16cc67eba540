"""The settings without which a job could leave its quota."""

import os
from pathlib import Path
from typing import Any

import pytest

from jobworkerd.config import Config, IsolationConfig, ScratchConfig
from jobworkerd.scratch import project_quota, requirements


@pytest.fixture(autouse=True)
def capable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of root on a file system with quotas."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(project_quota, "problem", lambda _: "")


def problem(directory: Path | str, **isolation: Any) -> str:
    isolated = IsolationConfig(**isolation)
    return requirements.problem(Config(scratch=ScratchConfig(directory=str(directory)), isolation=isolated))


def test_a_scratch_in_memory_has_no_requirements() -> None:
    assert problem("", seccomp=False, mount_namespace=False) == ""


def test_the_defaults_suffice(tmp_path: Path) -> None:
    assert problem(tmp_path) == ""
    assert problem(tmp_path, seccomp_allow=("keyctl",)) == ""


@pytest.mark.parametrize("name", ["mount_namespace", "no_new_privileges", "seccomp"])
def test_the_isolation_is_required(name: str, tmp_path: Path) -> None:
    assert f"without isolation.{name}; set it to true" in problem(tmp_path, **{name: False})


@pytest.mark.parametrize("name", ["ioctl", "file_setattr"])
def test_system_calls_that_change_projects_must_be_filtered(name: str, tmp_path: Path) -> None:
    assert f"with {name}; remove it from isolation.seccomp_allow" in problem(tmp_path, seccomp_allow=(name,))


def test_root_and_an_existing_directory_are_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "create the directory" in problem(tmp_path / "none")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "start the server as root" in problem(tmp_path)


def test_the_remedy_for_a_file_system_without_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_quota, "problem", lambda _: "has no project quotas")
    assert problem(tmp_path).startswith(f"the file system of {tmp_path} has no project quotas; mount ext4")
