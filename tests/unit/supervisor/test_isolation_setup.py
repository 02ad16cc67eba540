"""The isolation that spare processes need."""

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobworkerd.config import Config, IsolationConfig, ScratchConfig
from jobworkerd.supervisor import isolation_setup


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A directory with the sockets of users' sessions, as in `private`."""
    monkeypatch.setattr(isolation_setup, "_SESSIONS", (tmp_path, Path("/nonexistent")))
    return bytes(tmp_path)


def private(**wanted: str) -> tuple[bytes, ...]:
    config = Config(isolation=IsolationConfig(**wanted))  # type: ignore[arg-type]
    return isolation_setup.isolation_for(config, ()).view.private


def test_the_servers_directories_are_masked_at_their_real_paths(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to("real")
    config = Config(
        state_dir=str(tmp_path / "state"),
        certs_dir=str(tmp_path / "certs"),
        scratch=ScratchConfig(directory=str(tmp_path / "scratch")),
    )
    wanted = isolation_setup.isolation_for(config, ())
    assert wanted.view.masked[:3] == tuple(bytes(tmp_path / name) for name in ("real", "certs", "scratch"))
    assert wanted.namespaces == ("mount", "uts", "ipc", "pid")


def test_the_filter_is_compiled_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled() -> bytes | None:
        return isolation_setup.isolation_for(config, ()).seccomp

    config = Config()
    assert compiled()
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="riscv64"))
    assert compiled() == b""
    config = Config(isolation=IsolationConfig(seccomp=False))
    assert compiled() is None


def test_only_a_server_without_root_needs_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    def needed(**wanted: bool) -> bool:
        config = Config(isolation=IsolationConfig(**wanted))  # type: ignore[arg-type]
        return isolation_setup.isolation_for(config, ()).user_namespace

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not needed()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert needed()
    assert not needed(mount_namespace=False, pid_namespace=False, ipc_namespace=False, uts_namespace=False)


def test_jobs_of_a_named_user_do_not_reach_the_sessions_of_that_user(
    sessions: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sessions in private(run_as="nobody")
    assert sessions not in private(run_as="dynamic")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sessions in private()


def test_the_home_of_the_servers_user_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def home(directory: str) -> None:
        monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir=directory))

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(isolation_setup, "PRIVATE", (b"/home",))
    home(str(tmp_path))
    assert private()[-1] == bytes(tmp_path)
    home("/home/alice")
    assert private()[-1] != b"/home/alice"
    home("/nonexistent")
    assert b"/nonexistent" not in private()
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    home(str(tmp_path))  # a directory of another user
    assert bytes(tmp_path) not in private()
