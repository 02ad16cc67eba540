"""What an API process is told of the certificates that it cannot read itself."""

import errno
import os
from pathlib import Path

import pytest

from jobworkerd.protocol.messages import Certificates
from jobworkerd.supervisor.certificates import read

NAMES = ("ca.pem", "server.pem", "server-key.pem")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_text(f"of {name}")
    return tmp_path


def test_the_contents_come_once(directory: Path) -> None:
    found = read(directory, ())
    assert (found.ca, found.certificate, found.key) == (b"of ca.pem", b"of server.pem", b"of server-key.pem")
    assert read(directory, found.version) == Certificates(found.version)


@pytest.mark.parametrize("name", NAMES)
def test_one_that_was_renewed_makes_another_version(directory: Path, name: str) -> None:
    before = read(directory, ())
    new = directory / "new"
    new.write_text("renewed")
    new.rename(directory / name)
    after = read(directory, before.version)
    assert after.version != before.version
    assert b"renewed" in {after.ca, after.certificate, after.key}


@pytest.mark.parametrize("name", NAMES)
def test_one_that_is_missing_is_a_sentence_with_its_cure(directory: Path, name: str) -> None:
    (directory / name).unlink()
    found = read(directory, ())
    assert found == Certificates(problem=found.problem)
    assert found.problem.startswith(f"{directory / name}: No such file or directory; make certificates with")
    assert "--certs-dir" in found.problem


def test_an_exhausted_host_is_no_reason_to_make_new_ones(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> bytes:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    monkeypatch.setattr(Path, "read_bytes", fail)
    found = read(directory, ())
    assert "certs init" not in found.problem
    assert "Too many open files in system; the server's host is exhausted" in found.problem
