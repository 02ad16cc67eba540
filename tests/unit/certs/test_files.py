"""Files: modes, atomic writes, and protection against overwriting."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobworkerd.certs import files
from jobworkerd.certs.errors import CertificatesError

PAIRS = {"one": (b"certificate 1", b"key 1"), "two": (b"certificate 2", b"key 2")}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def umask() -> Iterator[None]:
    """Restore the umask after a test that changes it."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, mask: int) -> None:
    os.umask(mask)
    written = files.write_pairs(tmp_path, PAIRS, replace=False)
    assert {path.name: mode(path) for path in written} == {
        "one-key.pem": 0o600,
        "one.pem": 0o644,
        "two-key.pem": 0o600,
        "two.pem": 0o644,
    }


@pytest.mark.usefixtures("umask")
def test_a_key_is_private_from_its_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fchmod = os.fchmod

    def watch(fd: int, wanted: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode) & ~wanted)
        fchmod(fd, wanted)

    monkeypatch.setattr(os, "fchmod", watch)
    files.write_pairs(tmp_path, PAIRS, replace=False)
    assert seen == [0, 0, 0, 0]


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "two-key.pem").write_bytes(b"precious")
    with pytest.raises(CertificatesError, match=r"already has two-key.pem; .*--force"):
        files.write_pairs(tmp_path, PAIRS, replace=False)
    assert contents(tmp_path) == {"two-key.pem": b"precious"}


def test_replace_leaves_no_other_files(tmp_path: Path) -> None:
    files.write_pairs(tmp_path, {"one": (b"old", b"old")}, replace=False)
    (tmp_path / "one-key.pem").chmod(0o666)
    files.write_pairs(tmp_path, PAIRS, replace=True)
    assert contents(tmp_path) == {
        "one.pem": b"certificate 1",
        "one-key.pem": b"key 1",
        "two.pem": b"certificate 2",
        "two-key.pem": b"key 2",
    }
    assert mode(tmp_path / "one-key.pem") == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "one.pem").symlink_to(target)
    with pytest.raises(CertificatesError, match="is not a regular file; move it away"):
        files.write_pairs(tmp_path, PAIRS, replace=True)
    assert not target.exists()


@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_changes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, replace: bool
) -> None:
    if replace:
        files.write_pairs(tmp_path, {"one": (b"old", b"old")}, replace=False)
    before = contents(tmp_path)
    calls = iter([None, None, OSError(errno.ENOSPC, "No space left on device")])

    def fsync(fd: int) -> None:  # noqa: ARG001 - as os.fsync
        if (error := next(calls, None)) is not None:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        files.write_pairs(tmp_path, PAIRS, replace=replace)
    assert contents(tmp_path) == before


def test_a_failed_rename_removes_the_new_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def refuse_the_last(path: Path, target: Path) -> Path:
        if target.name == "two.pem":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_the_last)
    with pytest.raises(OSError, match="Input/output"):
        files.write_pairs(tmp_path, PAIRS, replace=False)
    assert contents(tmp_path) == {}


def test_one_of_two_concurrent_writers_writes_all_files(tmp_path: Path) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def write(label: bytes) -> None:
        start.wait()
        try:
            files.write_pairs(tmp_path, {"one": (label, label), "two": (label, label)}, replace=False)
            outcomes.append(label.decode())
        except CertificatesError:
            outcomes.append("refused")

    threads = [threading.Thread(target=write, args=(label,)) for label in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "refused" in outcomes
    winner = next(outcome for outcome in outcomes if outcome != "refused").encode()
    assert set(contents(tmp_path).values()) == {winner}


@pytest.mark.parametrize(
    "name", ["ca", "crl", "", "x-key", "../x", "a/b", ".hidden", "-x", "x" * 65, "ä", "x\n"]
)
def test_names_that_are_not_accepted(name: str) -> None:
    with pytest.raises(CertificatesError, match="name"):
        files.check_name(name)


@pytest.mark.parametrize("name", ["alice", "alice@example.com", "worker-1", "x" * 64, "7"])
def test_names_that_are_accepted(name: str) -> None:
    files.check_name(name)


def test_valid_server_files_are_accepted(certs: Path) -> None:
    files.check_server_files(certs)


@pytest.mark.parametrize("missing", ["ca.pem", "server.pem", "server-key.pem"])
def test_a_missing_server_file_is_named_with_the_fix(certs: Path, missing: str) -> None:
    (certs / missing).unlink()
    with pytest.raises(CertificatesError, match=f"{missing} is missing; create .* certs init --dir"):
        files.check_server_files(certs)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o666])
def test_a_server_key_that_other_users_can_use_is_refused(certs: Path, bits: int) -> None:
    (certs / "server-key.pem").chmod(bits)
    with pytest.raises(CertificatesError, match=f"has mode {bits:04o}.*chmod 600"):
        files.check_server_files(certs)
