"""Certificates as `certs init` makes them, once for all tests: RSA 4096 takes its time."""

import shutil
from pathlib import Path

import pytest

from jobworkerd.certs import issuance


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that nobody changes."""
    directory = tmp_path_factory.mktemp("made") / "certs"
    issuance.make_first_set(directory, ["worker1.example.com", "192.0.2.7", "::1"], replace=False)
    return directory


@pytest.fixture
def certs(made: Path, tmp_path: Path) -> Path:
    """A copy for the test to change."""
    return Path(shutil.copytree(made, tmp_path / "certs"))
