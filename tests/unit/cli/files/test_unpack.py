"""Tests of the download of hostile archives: nothing has an effect outside of the destination."""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobworker_cli.files.unpack import Refused, unpack

Member = tuple[str, bytes, str]
"""A name, a type of tarfile, and the target of a link or the content of a file."""

FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Use the usual umask."""
    former = os.umask(0o022)
    yield
    os.umask(former)


def archive(*members: Member, mode: int = 0o755) -> io.BytesIO:
    """Return an archive with members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, 1_000_000_000
            if kind == FILE:
                info.size = len(text)
            else:
                info.linkname = text
            tar.addfile(info, io.BytesIO(text.encode()))
    file.seek(0)
    return file


def tree(root: Path) -> dict[str, str]:
    """Return the paths below a directory, with the content of files and the targets of links."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "" if path.is_dir() else path.read_text()
    return found


def mode_and_time(path: Path) -> tuple[int, float]:
    """Return the mode and the time of a file."""
    status = path.stat()
    return stat.S_IMODE(status.st_mode), status.st_mtime


@pytest.mark.parametrize(
    "members",
    [
        [("/etc/x", FILE, "")],
        [("../x", FILE, "")],
        [("a/../../x", FILE, "")],
        [("a/..", DIRECTORY, "")],
        [("a", LINK, "/etc/passwd")],
        [("a", LINK, "..")],
        [("a", LINK, "")],
        [("a/b", LINK, "../../x")],
        [("a/b", LINK, "../..")],
        # Each of these is inside if the kernel did not follow the first link.
        [("d/up", LINK, ".."), ("x", LINK, "d/up/../x")],
        [("a", LINK, "."), ("a/b", LINK, "../x")],
        [("a/b", LINK, "../x"), ("a", LINK, ".")],
        [("a", LINK, "b"), ("a/x", FILE, "through the link")],
        [("a", LINK, "b"), ("a", FILE, "twice")],
        [("a", FILE, "1"), ("a", FILE, "2")],
        [("a", FILE, "1"), ("a/b", FILE, "2")],
        [("a", HARD, "/etc/passwd")],
        [("a", HARD, "../x")],
        [("a", HARD, "missing")],
        [("d/a", LINK, "../x"), ("a", HARD, "d/a")],
        [("fifo", tarfile.FIFOTYPE, "")],
        [("device", tarfile.CHRTYPE, "")],
        [("device", tarfile.BLKTYPE, "")],
        [("sparse", tarfile.GNUTYPE_SPARSE, "")],
        [(".", FILE, "in place of the root")],
        [("d/" * 1_900 + "deep", FILE, "")],
        [(".", LINK, "x")],
    ],
)
def test_refused_archives_leave_nothing(tmp_path: Path, members: list[Member]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "x").write_text("outside")
    with pytest.raises((Refused, OSError)):
        unpack(archive(("./ok", FILE, "ok"), *members), home / "out", directory=True)
    assert tree(tmp_path) == {"home": "", "x": "outside"}


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ([("a", LINK, "b"), ("b", FILE, "1")], {"a": "-> b", "b": "1"}),
        ([("d/e/a", LINK, "../../b")], {"d": "", "d/e": "", "d/e/a": "-> ../../b"}),
        ([("a", LINK, "missing/x")], {"a": "-> missing/x"}),
        ([("a", FILE, "1"), ("b", HARD, "./a")], {"a": "1", "b": "1"}),
        ([("a", LINK, "x"), ("b", HARD, "a")], {"a": "-> x", "b": "-> x"}),
        ([("./", DIRECTORY, ""), ("./d//f", FILE, "1")], {"d": "", "d/f": "1"}),
        ([("d", DIRECTORY, ""), ("d", DIRECTORY, "")], {"d": ""}),
        ([("-x", FILE, ""), ("a\nb", FILE, ""), ("ü", FILE, "")], {"-x": "", "a\nb": "", "ü": ""}),
        ([], {}),
    ],
)
def test_safe_archives(tmp_path: Path, members: list[Member], found: dict[str, str]) -> None:
    unpack(archive(*members), tmp_path / "out", directory=True)
    assert tree(tmp_path / "out") == found
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_hard_links_share_a_file(tmp_path: Path) -> None:
    unpack(archive(("a", FILE, "1"), ("b", HARD, "a")), tmp_path / "out", directory=True)
    assert (tmp_path / "out/a").samefile(tmp_path / "out/b")


@pytest.mark.parametrize(("mode", "kept"), [(0o7777, 0o755), (0o600, 0o600), (0o555, 0o555), (0o022, 0)])
def test_modes_and_times_of_files_are_kept(tmp_path: Path, mode: int, kept: int) -> None:
    unpack(archive(("d/f", FILE, "1"), mode=mode), tmp_path / "out", directory=True)
    assert mode_and_time(tmp_path / "out/d/f") == (kept, 1_000_000_000)


@pytest.mark.parametrize(("mode", "kept"), [(0o7777, 0o755), (0o700, 0o700), (0o555, 0o555)])
def test_modes_and_times_of_directories_are_kept(tmp_path: Path, mode: int, kept: int) -> None:
    members = archive((".", DIRECTORY, ""), ("d", DIRECTORY, ""), ("d/f", FILE, "1"), mode=mode)
    unpack(members, tmp_path / "out", directory=True)
    for path in ("out", "out/d"):
        assert mode_and_time(tmp_path / path) == (kept, 1_000_000_000), path


def test_one_file_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("earlier")
    unpack(archive(("./result", FILE, "new")), tmp_path / "out", directory=False)
    assert tree(tmp_path) == {"out": "new"}


@pytest.mark.parametrize(
    "members", [[], [("a", FILE, ""), ("b", FILE, "")], [("a", LINK, "b")], [("a", DIRECTORY, "")]]
)
def test_one_file_is_one_file(tmp_path: Path, members: list[Member]) -> None:
    with pytest.raises(Refused):
        unpack(archive(*members), tmp_path / "out", directory=False)
    assert tree(tmp_path) == {}


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    for directory, name in ((True, "d/f"), (False, "f")):
        with pytest.raises(OSError, match="out"):
            unpack(archive((name, FILE, "1"), mode=0o555), tmp_path / "out", directory=directory)
    assert tree(tmp_path) == {"out": "", "out/mine": "mine"}


@pytest.mark.parametrize("data", [b"", b"no archive" * 100, bytes(10_240)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    with pytest.raises((tarfile.TarError, Refused)):
        unpack(io.BytesIO(data), tmp_path / "out", directory=False)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("size", [1 << 45, 1 << 80])
def test_a_name_that_is_too_large(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("large")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, size
    with pytest.raises((tarfile.TarError, OverflowError, MemoryError)):
        unpack(io.BytesIO(member.tobuf(tarfile.GNU_FORMAT)), tmp_path / "out", directory=True)
    assert tree(tmp_path) == {}


def test_a_short_archive(tmp_path: Path) -> None:
    whole = archive(("a", FILE, "1" * 5_000)).getvalue()
    with pytest.raises(tarfile.TarError):
        unpack(io.BytesIO(whole[:3_000]), tmp_path / "out", directory=True)
    assert tree(tmp_path) == {}
