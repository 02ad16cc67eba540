"""Deferred reclaim in pieces, until all space is released."""

import os
from pathlib import Path

import pytest
from host_resources import descriptors, opened_since

from jobworkerd.logs.deferred_reclaim import DeferredReclaim

MIB = 1 << 20


def big(path: Path, mib: int) -> Path:
    path.write_bytes(bytes(mib * MIB))
    return path


def test_a_large_file_is_reclaimed_piece_by_piece(tmp_path: Path) -> None:
    before, deferred = descriptors(), DeferredReclaim()
    log = big(tmp_path / "output.log", 40)
    other = tmp_path / "link"
    other.hardlink_to(log)
    deferred.add(log)
    log.unlink()
    sizes = []
    more = True
    while more:
        more = deferred.reclaim()
        sizes.append(other.stat().st_size // MIB)
    assert sizes == [24, 8, 0]
    assert not deferred.reclaim()
    assert not opened_since(before)


def test_a_small_file_needs_no_pieces(tmp_path: Path) -> None:
    before, deferred = descriptors(), DeferredReclaim()
    deferred.add(big(tmp_path / "output.log", 1))
    assert not opened_since(before)
    assert not deferred.reclaim()


def test_the_next_file_follows_when_one_is_reclaimed(tmp_path: Path) -> None:
    deferred = DeferredReclaim()
    for name in ("one", "two"):
        deferred.add(big(tmp_path / name, 17))
    steps = 1
    while deferred.reclaim():
        steps += 1
    assert steps == 4
    assert [(tmp_path / name).stat().st_size for name in ("one", "two")] == [0, 0]


def test_a_disk_that_fails_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, deferred = descriptors(), DeferredReclaim()
    deferred.add(big(tmp_path / "output.log", 40))

    def fail(_descriptor: int, _length: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", fail)
    with pytest.raises(OSError, match="Input/output"):
        deferred.reclaim()
    assert not deferred.reclaim()
    assert not opened_since(before)


def test_close_reclaims_everything(tmp_path: Path) -> None:
    before, deferred = descriptors(), DeferredReclaim()
    deferred.add(big(tmp_path / "output.log", 40))
    deferred.close()
    assert not opened_since(before)
