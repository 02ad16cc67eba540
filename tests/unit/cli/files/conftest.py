"""Fixtures with a current directory and with jobs that run here."""

from pathlib import Path

import pytest

from tests.unit.cli.files.local_jobs import LocalJob, with_busybox


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory of the command."""
    path = tmp_path / "local"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def host_job(tmp_path: Path) -> LocalJob:
    """Return a job with the programs of this host."""
    directory = tmp_path / "job"
    directory.mkdir()
    return LocalJob(directory)


@pytest.fixture(params=["host", "busybox"])
def job(request: pytest.FixtureRequest, host_job: LocalJob, tmp_path: Path) -> LocalJob:
    """Return a job with the programs of this host, or with those of BusyBox."""
    if request.param == "host":
        return host_job
    job = with_busybox(host_job, tmp_path / "busybox")
    return job or pytest.skip("busybox is not installed")
