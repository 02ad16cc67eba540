"""Findings of `doctor` about user namespaces."""

import errno
import os
from pathlib import Path

import pytest

from jobworkerd.config import Config
from jobworkerd.diagnostics import isolation, user_namespaces
from jobworkerd.spawn import user_namespace


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc of a kernel with all namespaces and without further mounts."""
    directory = tmp_path / "proc"
    (directory / "self/ns").mkdir(parents=True)
    for name in ("user", "mnt", "pid", "ipc", "uts"):
        (directory / "self/ns" / name).symlink_to(f"{name}:[1]")
    show_mounts(directory, "/proc", "/proc/sys/fs/binfmt_misc", "/srv")
    (directory / "sys/kernel/seccomp").mkdir(parents=True)
    return directory


def show_mounts(proc: Path, *points: str) -> None:
    lines = [f"31 23 0:28 / {point} rw - tmpfs none rw" for point in points]
    (proc / "self/mountinfo").write_text("\n".join(lines))


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(user_namespace, "errno_in_child", lambda: code)


def test_a_kernel_without_user_namespaces(proc: Path) -> None:
    (proc / "self/ns/user").unlink()
    assert "CONFIG_USER_NS" in user_namespaces.problem(proc)


def test_each_forbidding_setting_is_named_with_its_fix(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "kernel/unprivileged_userns_clone": ("0", "kernel.unprivileged_userns_clone = 1"),
        "user/max_user_namespaces": ("0", "user.max_user_namespaces = 65536"),
        "kernel/apparmor_restrict_unprivileged_userns": (
            "1",
            "kernel.apparmor_restrict_unprivileged_userns = 0",
        ),
    }
    for name, (value, _) in settings.items():
        (proc / "sys" / name).parent.mkdir(exist_ok=True)
        (proc / "sys" / name).write_text(f"{value}\n")
    refuse(monkeypatch, errno.EPERM)
    found = user_namespaces.problem(proc)
    assert all(fix in found for _, fix in settings.values())
    refuse(monkeypatch, 0)  # a profile of AppArmor can permit this program
    assert user_namespaces.problem(proc) == ""


def test_a_refusal_for_another_reason(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "sys/user").mkdir()
    (proc / "sys/user/max_user_namespaces").write_text("1000\n")
    refuse(monkeypatch, errno.EACCES)
    found = user_namespaces.problem(proc)
    assert found.startswith("the kernel refuses a user namespace (Permission denied)")


def test_a_proc_with_hidden_files(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, 0)
    show_mounts(proc, "/proc", "/proc/kcore")
    assert user_namespaces.problem(proc).startswith("/proc/kcore is hidden")


def test_only_the_namespaces_of_a_user_depend_on_user_namespaces(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def namespaces_missing() -> set[str]:
        found = {part for part, problem in isolation.problems(Config(), proc) if problem}
        return {part for part in found if part.endswith("_namespace")}

    refuse(monkeypatch, errno.EPERM)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert namespaces_missing() == set()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert namespaces_missing() == {f"{name}_namespace" for name in ("mount", "pid", "ipc", "uts")}


def test_a_server_without_root_forbids_new_privileges(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert dict(isolation.problems(Config(), proc))["no_new_privileges"] == ""
