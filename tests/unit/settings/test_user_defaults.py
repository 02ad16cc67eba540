"""The defaults of a server without root."""

import os
from pathlib import Path

import pytest

from jobworkerd.settings import resolve
from jobworkerd.settings.user_defaults import user_defaults


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user without privileges, whose defaults are in force."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resolve, "user_defaults", user_defaults)
    return tmp_path


def test_a_user_has_directories_below_the_home_and_jobs_of_its_own(home: Path) -> None:
    settings = resolve.resolve_settings(None, {"HOME": str(home)}, {})
    assert settings.config.state_dir == f"{home}/.local/state/job-worker"
    assert settings.config.certs_dir == f"{home}/.config/job-worker/certs"
    assert settings.config.isolation.run_as == "server"
    assert settings.sources["state_dir"] == "default"


def test_the_base_directories_of_the_environment_come_first(home: Path) -> None:
    environ = {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": "relative"}
    settings = resolve.resolve_settings(None, environ, {})
    assert settings.config.certs_dir == f"{home}/job-worker/certs"
    assert settings.config.state_dir == "/nowhere/.local/state/job-worker"


def test_the_file_of_the_user_replaces_that_of_root(home: Path) -> None:
    resolve.DEFAULT_FILE.write_text("max_jobs = 7\n")
    file = home / ".config/job-worker/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('max_queued = 8\nstate_dir = "/srv/state"\n')
    settings = resolve.resolve_settings(None, {"HOME": str(home)}, {})
    assert settings.config.max_jobs != 7
    assert (settings.config.max_queued, settings.config.state_dir) == (8, "/srv/state")
    assert settings.sources["max_queued"] == f"file {file}"


def test_root_has_the_defaults_of_the_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    settings = resolve.resolve_settings(None, {"HOME": str(home)}, {})
    assert settings.config.state_dir == "/opt/job-worker/state"
    assert settings.config.isolation.run_as == "dynamic"
