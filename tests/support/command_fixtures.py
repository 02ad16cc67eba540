"""Runs `jobworkerd` in this process. The certificates are made once, since RSA 4096 is slow."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from jobworkerd import __main__ as command_line
from jobworkerd.certs import issuance

Completed = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def no_settings_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ignore the configuration file and the environment of this host, and the user that runs the tests."""
    monkeypatch.setattr("jobworkerd.settings.resolve.user_defaults", lambda _: None)
    monkeypatch.setattr("jobworkerd.settings.resolve.DEFAULT_FILE", tmp_path / "default.toml")
    for name in (
        "JOBWORKERD_LISTEN",
        "JOBWORKERD_CERTS_DIR",
        "JOBWORKERD_STATE_DIR",
        "JOBWORKERD_CGROUP_BASE",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Completed]:
    """Run `jobworkerd` with arguments; fail the test if it would execute the supervisor."""
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the supervisor would have been started"))

    def run_command(*arguments: object) -> Completed:
        argv = ["jobworkerd", *map(str, arguments)]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as exit_info:
            command_line.main()
        code = exit_info.value.code
        assert isinstance(code, int)
        return Completed(argv, code, *capsys.readouterr())

    return run_command


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared directory of certificates; tests must not change it."""
    directory = tmp_path_factory.mktemp("made") / "certs"
    issuance.make_first_set(directory, ["worker1.example.com"], replace=False)
    return directory


@pytest.fixture
def certs(made: Path, tmp_path: Path) -> Path:
    """A copy of the certificates that the test may change."""
    return Path(shutil.copytree(made, tmp_path / "certs"))
