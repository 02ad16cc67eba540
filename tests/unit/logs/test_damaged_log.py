"""The files of a log after a loss of power: the rest of them is read, and a writer continues them."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, open_cursor
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import (
    HEADER,
    RECORD,
    Record,
    data_file,
    index_file,
    pack,
)
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from tests.unit.logs.stores import ERR, FREE, OUT, put_slot, read_all, resumed, start_of, written


def test_records_that_do_not_follow_each_other_are_cut(tmp_path: Path) -> None:
    written(tmp_path, *[(OUT, b"x")] * 10)
    put_slot(tmp_path, 6, pack(Record(5, 7, 2, OUT)))
    with resumed(tmp_path) as writer:
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"x" * 6), (6, None, 10)]


def test_zeros_amid_the_records_are_the_end_of_the_records(tmp_path: Path) -> None:
    written(tmp_path, *[(OUT, b"x")] * 2_000)
    put_slot(tmp_path, 1_900, bytes(RECORD.size))
    with resumed(tmp_path) as writer:
        assert writer.size == 2_000
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"x" * 1_900), (1_900, None, 2_000)]


def test_garbage_after_the_records_is_cut(tmp_path: Path) -> None:
    written(tmp_path, *[(OUT, b"x")] * 100)
    put_slot(tmp_path, 100, os.urandom(1_000_000))
    with resumed(tmp_path) as writer:
        assert writer.size == 100
        writer.append(ERR, memoryview(b"more"), 200)
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"x" * 100), (100, ERR, b"more")]
    assert index_file(tmp_path).stat().st_size < 10_000


@pytest.mark.parametrize("garbage", [b"\xff" * RECORD.size, pack(Record(1 << 62, 1 << 60, 9, OUT))])
def test_garbage_in_place_of_all_records(tmp_path: Path, garbage: bytes) -> None:
    written(tmp_path, *[(OUT, b"x")] * 2_000)
    put_slot(tmp_path, 0, garbage * 2_000)
    with resumed(tmp_path) as writer:
        assert read_all(tmp_path, writer.size) == [(0, None, 2_000)]


def test_bytes_that_the_disk_has_lost_are_a_gap(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"), (ERR, b"two"), (OUT, b"three"))
    os.truncate(data_file(tmp_path), 4)
    with resumed(tmp_path) as writer:
        assert writer.size == 11, "the size does not decrease"
        writer.append(OUT, memoryview(b"!"), 9)
        pieces = read_all(tmp_path, writer.size)
    assert pieces == [(0, OUT, b"one"), (3, ERR, b"t"), (4, None, 11), (11, OUT, b"!")]


def test_a_data_file_that_ends_with_a_loss_is_complete(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"))
    put_slot(tmp_path, 1, pack(Record(3, 2, 1_000, None)))
    with resumed(tmp_path) as writer:
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"one"), (3, None, 1_003)]
        assert writer.extent.records == 2


def test_an_index_without_a_header(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"))
    os.truncate(index_file(tmp_path), 7)
    with resumed(tmp_path) as writer:
        writer.append(OUT, memoryview(b"two"), 9)
        assert read_all(tmp_path, writer.size) == [(0, None, 3), (3, OUT, b"two")]


@pytest.mark.parametrize("header", [HEADER.pack(1 << 63, 0), HEADER.pack(0, 1 << 62)])
def test_garbage_in_place_of_the_header(tmp_path: Path, header: bytes) -> None:
    written(tmp_path, (OUT, b"one"))
    with index_file(tmp_path).open("r+b") as file:
        file.write(header)
    assert read_all(tmp_path, 3) == [(0, OUT, b"one")]
    with resumed(tmp_path) as writer:
        writer.append(ERR, memoryview(b"two"), 9)
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"one"), (3, ERR, b"two")]


def test_a_reader_stops_before_a_record_of_an_unknown_kind(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"), (OUT, b"two"))
    put_slot(tmp_path, 1, RECORD.pack(3, 2, 3, 32))
    assert read_all(tmp_path, 6)[0] == (0, OUT, b"one")


def test_more_lost_bytes_than_one_record_can_hold(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"))
    put_slot(tmp_path, 1, FREE)
    os.truncate(data_file(tmp_path), 10 << 30)
    with resumed(tmp_path) as writer:
        assert writer.size == 10 << 30
        assert read_all(tmp_path, writer.size, start=3)[-1][2] == 10 << 30


@dataclass(frozen=True)
class Damage:
    """The shares of the files that reached the disk before a power loss, and garbage over the last slots."""

    index: float
    data: float
    garbage: int


damages = st.builds(
    Damage, st.just(1.0) | st.floats(0, 1), st.just(1.0) | st.floats(0, 1), st.just(0) | st.integers(1, 500)
)


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=400),
    trimmed=st.floats(0, 1),
    damage=damages,
)
def test_what_remains_of_damaged_files_is_a_whole_log(
    sizes: list[int], trimmed: float, damage: Damage
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = LogWriter.create(directory)
        model, owners = bytearray(), []
        for time_ns, size in enumerate(sizes):
            source = OutputSource(1 + time_ns % 3 % 2)
            data = bytes((time_ns + i) % 255 + 1 for i in range(size))
            writer.append(source, memoryview(data), time_ns)
            model += data
            owners += [source] * size
        if trimmed < 0.5:
            writer.trim(int(writer.extent.stored * trimmed * 2))
        writer.close()
        hurt(directory, damage, len(sizes))
        with resumed(directory) as writer:
            # A cut index loses records at most, a cut data file bytes at most.
            data_size = data_file(directory).stat().st_size
            assert writer.size >= data_size
            if damage.index == 1 and not damage.garbage:
                assert writer.size == len(model)
            resumed_size = writer.size
            writer.append(ERR, memoryview(b"after"), 1)
            start = start_of(directory)
            pieces = read_all(directory, writer.size, start)
        for offset, owner, content in pieces:
            if offset < resumed_size and isinstance(content, bytes):
                before = content[: resumed_size - offset]
                assert before == model[offset : offset + len(before)], "no byte is wrong"
                assert [owner] * len(before) == owners[offset : offset + len(before)]
        assert pieces[-1][2].endswith(b"after") if isinstance(pieces[-1][2], bytes) else False
        with resumed(directory) as again:
            assert again.size == resumed_size + 5, "a second resume changes nothing"
            assert read_all(directory, again.size, start) == pieces


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=400),
    index=st.just(1.0) | st.floats(0, 1),
    data=st.just(1.0) | st.floats(0, 1),
    max_bytes=st.sampled_from([7, 500, 1 << 20]),
    mixed=st.booleans(),
)
def test_a_reader_of_damaged_files_gets_bytes_or_gaps(
    sizes: list[int], index: float, data: float, max_bytes: int, *, mixed: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory, model = Path(name), bytearray()
        writer = LogWriter.create(directory)
        for time_ns, size in enumerate(sizes):
            piece = bytes((time_ns + i) % 255 + 1 for i in range(size))
            writer.append(OutputSource(1 + time_ns % 3 % 2), memoryview(piece), time_ns)
            model += piece
        writer.close()
        hurt(directory, Damage(index, data, 0), len(sizes))
        stored = data_file(directory).stat().st_size
        with open_cursor(directory, 0) as cursor:
            while cursor.offset < len(model):
                start = cursor.offset
                read = cursor.read(len(model), max_bytes, mixed=mixed)
                assert read.offset == start < read.end == cursor.offset <= len(model)
                if isinstance(read, Chunk):
                    assert read.data == model[start : read.end]
                elif index == 1:
                    assert start >= stored, "a byte that is there is read"


def hurt(directory: Path, damage: Damage, records: int) -> None:
    index, data = index_file(directory), data_file(directory)
    if damage.garbage:
        first = start_record(directory)
        number = max(first, records - damage.garbage)
        put_slot(directory, number, os.urandom((records - number) * RECORD.size))
    os.truncate(index, max(HEADER.size, int(index.stat().st_size * damage.index)))
    os.truncate(data, int(data.stat().st_size * damage.data))


def start_record(directory: Path) -> int:
    with open_files(directory) as files:
        return files.header().first_record
