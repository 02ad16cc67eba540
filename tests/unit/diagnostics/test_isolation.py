"""Findings of `doctor` about the isolation of jobs."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobworkerd.config import Config, IsolationConfig, ScratchConfig
from jobworkerd.diagnostics import isolation


def seccomp_problem(proc: Path, **wanted: bool) -> str:
    config = Config(isolation=IsolationConfig(**wanted))  # type: ignore[arg-type]
    return dict(isolation.problems(config, proc))["seccomp"]


def test_the_system_call_filter_needs_the_kernel(tmp_path: Path) -> None:
    assert "CONFIG_SECCOMP_FILTER" in seccomp_problem(tmp_path)
    (tmp_path / "sys/kernel/seccomp").mkdir(parents=True)
    assert seccomp_problem(tmp_path) == ""


def test_the_system_call_filter_needs_no_new_privileges(tmp_path: Path) -> None:
    assert "no_new_privileges" in seccomp_problem(tmp_path, no_new_privileges=False)


def test_the_system_call_filter_needs_a_known_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="riscv64", release="6.1"))
    assert "x86-64" in seccomp_problem(tmp_path)


def test_a_disabled_filter_has_no_finding(tmp_path: Path) -> None:
    config = Config(isolation=IsolationConfig(seccomp=False))
    assert "seccomp" not in dict(isolation.problems(config, tmp_path))


def test_a_scratch_on_disk_needs_project_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    config = Config(scratch=ScratchConfig(directory="/proc"))
    assert "/proc has no project quotas" in dict(isolation.problems(config, tmp_path))["scratch"]
    assert "scratch" not in dict(isolation.problems(Config(), tmp_path))
