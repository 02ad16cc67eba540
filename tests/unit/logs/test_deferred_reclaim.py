"""Space is given back in pieces, and all of it."""

import os
from pathlib import Path

import pytest

from jobworkerd.logs.deferred_reclaim import Remains

MIB = 1 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def big(path: Path, mib: int) -> Path:
    path.write_bytes(bytes(mib * MIB))
    return path


def test_a_large_file_is_given_back_piece_by_piece(tmp_path: Path) -> None:
    before, remains = descriptors(), Remains()
    log = big(tmp_path / "output.log", 40)
    other = tmp_path / "link"
    other.hardlink_to(log)
    remains.keep(log)
    log.unlink()
    sizes = []
    more = True
    while more:
        more = remains.give_back()
        sizes.append(other.stat().st_size // MIB)
    assert sizes == [24, 8, 0]
    assert not remains.give_back()
    assert descriptors() == before


def test_a_small_file_needs_no_pieces(tmp_path: Path) -> None:
    before, remains = descriptors(), Remains()
    remains.keep(big(tmp_path / "output.log", 1))
    assert descriptors() == before
    assert not remains.give_back()


def test_the_next_file_comes_when_one_is_given_back(tmp_path: Path) -> None:
    remains = Remains()
    for name in ("one", "two"):
        remains.keep(big(tmp_path / name, 17))
    steps = 1
    while remains.give_back():
        steps += 1
    assert steps == 4
    assert [(tmp_path / name).stat().st_size for name in ("one", "two")] == [0, 0]


def test_a_disk_that_fails_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, remains = descriptors(), Remains()
    remains.keep(big(tmp_path / "output.log", 40))

    def fail(_descriptor: int, _length: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match="Input/output"):
        remains.give_back()
    assert not remains.give_back()
    assert descriptors() == before


def test_close_gives_all_back(tmp_path: Path) -> None:
    before, remains = descriptors(), Remains()
    remains.keep(big(tmp_path / "output.log", 40))
    remains.close()
    assert descriptors() == before
