"""The certificates that the supervisor reads for the API processes."""

import errno
import os
from pathlib import Path

import pytest

from jobworkerd.certificate_files import read
from jobworkerd.protocol.messages import Certificates

NAMES = ("ca.pem", "server.pem", "server-key.pem")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"of {name}")
    return tmp_path


def test_a_known_version_has_no_contents(directory: Path) -> None:
    found = read(directory, ())
    assert (found.ca, found.certificate, found.key) == (b"of ca.pem", b"of server.pem", b"of server-key.pem")
    assert read(directory, found.version) == Certificates(found.version)


@pytest.mark.parametrize("name", NAMES)
def test_a_renewed_file_changes_the_version(directory: Path, name: str) -> None:
    before = read(directory, ())
    new = directory / "new"
    new.write_text("renewed")
    new.rename(directory / name)
    after = read(directory, before.version)
    assert after.version != before.version
    assert b"renewed" in {after.ca, after.certificate, after.key}


@pytest.mark.parametrize("name", NAMES)
def test_the_problem_names_a_missing_file_and_the_remedy(directory: Path, name: str) -> None:
    (directory / name).unlink()
    found = read(directory, ())
    assert found == Certificates(problem=found.problem)
    assert found.problem.startswith(
        f"{directory / name}: No such file or directory; create certificates with"
    )
    assert "--certs-dir" in found.problem


def test_revocation_lists_are_optional(directory: Path) -> None:
    versions = [read(directory, ()).version]
    assert read(directory, ()).crl is None
    (directory / "crl.pem").write_text("lists")
    found = read(directory, versions[0])
    assert found.crl == b"lists"
    (directory / "crl.pem").unlink()
    versions += [found.version, read(directory, ()).version]
    assert versions[0] == versions[2] != versions[1]


def test_an_exhausted_host_does_not_suggest_new_certificates(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> bytes:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(Path, "read_bytes", fail)
    found = read(directory, ())
    assert "certs init" not in found.problem
    assert "Too many open files in system; the host is exhausted" in found.problem
