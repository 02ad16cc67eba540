"""Certificates from `certs init`. They are created once for all tests, since RSA 4096 is slow."""

import shutil
from pathlib import Path

import certificates
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from jobworkerd.certs import authority, issuance, rollover


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared directory of certificates; tests must not change it."""
    directory = tmp_path_factory.mktemp("made") / "certs"
    issuance.make_first_set(directory, ["worker1.example.com", "192.0.2.7", "::1"], replace=False)
    return directory


@pytest.fixture
def certs(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "certs"))


@pytest.fixture
def rolled_over(certs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy during a rollover."""
    new = certificates.authority(ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setattr(authority, "make_authority", lambda _: authority.load_pair(new.certificate, new.key))
    rollover.start(certs)
    return certs
