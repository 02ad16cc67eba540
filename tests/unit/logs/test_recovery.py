"""A log continued after the death of its writer, with files that a kill or a power loss can leave."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, Gap, open_cursor
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import (
    HEADER,
    RECORD,
    Record,
    data_file,
    index_file,
    pack,
    pack_intent,
    record_position,
)
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from tests.unit.logs.stores import ERR, OUT, UNBOUNDED, no_error, on_disk, start_of, store

FULL_PAGE = 200
"""More records than the writer allocates at once."""

FREE = bytes(RECORD.size)


@contextmanager
def resumed(directory: Path) -> Iterator[LogWriter]:
    writer = LogWriter.resume(directory)
    try:
        yield writer
    finally:
        writer.close()


def written(directory: Path, *pieces: tuple[OutputSource, bytes]) -> None:
    """Write a log whose writer then dies."""
    writer = LogWriter.create(directory)
    for time_ns, (source, data) in enumerate(pieces, start=1):
        writer.append(source, memoryview(data), time_ns)
    writer.close()


def read_all(directory: Path, size: int, start: int = 0) -> list[tuple[int, OutputSource | None, object]]:
    """Return offset, source and bytes of each piece; for a gap its end in place of the bytes."""
    found: list[tuple[int, OutputSource | None, object]] = []
    with open_cursor(directory, start) as cursor:
        while cursor.offset < size:
            piece = cursor.read(size, 1 << 20)
            assert isinstance(piece, Chunk | Gap)
            found.append(
                (piece.offset, piece.source, piece.data)
                if isinstance(piece, Chunk)
                else (piece.offset, None, piece.end)
            )
    return found


def put_slot(directory: Path, number: int, data: bytes) -> None:
    with open_files(directory, os.O_RDWR) as files:
        os.pwrite(files.index, data, record_position(number))


def put_data(directory: Path, offset: int, data: bytes) -> None:
    with open_files(directory, os.O_RDWR) as files:
        os.pwrite(files.data, data, offset)


def test_output_continues_after_the_last_byte(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"), (ERR, b"two"))
    with resumed(tmp_path) as writer:
        assert writer.size == 6
        writer.append(ERR, memoryview(b"three"), 9)
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"one"), (3, ERR, b"twothree")]
    assert data_file(tmp_path).read_bytes() == b"onetwothree"


def test_an_empty_log_is_resumed(tmp_path: Path) -> None:
    written(tmp_path)
    with resumed(tmp_path) as writer:
        assert writer.size == 0
        writer.append(OUT, memoryview(b"first"), 1)
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"first")]


@pytest.mark.parametrize("count", [1, 169, 170, 171, FULL_PAGE, 3_000])
def test_the_last_record_is_found_in_any_index(tmp_path: Path, count: int) -> None:
    written(tmp_path, *[(OutputSource(1 + number % 2), b"x") for number in range(count)])
    before = index_file(tmp_path).stat().st_size
    with resumed(tmp_path) as writer:
        assert (writer.size, writer.extent.records) == (count, count)
        for _ in range(FULL_PAGE):
            writer.append(OUT, memoryview(b"y"), 1)
    assert index_file(tmp_path).stat().st_size >= before
    assert data_file(tmp_path).read_bytes() == b"x" * count + b"y" * FULL_PAGE


def test_times_do_not_decrease_after_a_resume(tmp_path: Path) -> None:
    writer = LogWriter.create(tmp_path)
    writer.append(OUT, memoryview(b"one"), 5_000_000_000)
    writer.close()
    with resumed(tmp_path) as writer, open_cursor(tmp_path, 3) as cursor:
        writer.append(OUT, memoryview(b"two"), 1_000_000_000)
        chunk = cursor.read(6, 100)
    assert isinstance(chunk, Chunk)
    assert chunk.time_ns == 5_000_000_000


def test_bytes_without_a_record_get_the_source_of_the_intent(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"))
    put_data(tmp_path, 3, b"two")
    put_slot(tmp_path, 1, pack_intent(3, ERR))
    before = data_file(tmp_path).stat().st_mtime_ns
    with resumed(tmp_path) as writer:
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"one"), (3, ERR, b"two")]
        with open_files(tmp_path) as files:
            assert files.records(1, 1)[0].time_ns == before, "about when the bytes were read"


@pytest.mark.parametrize("slot", [FREE, pack(Record(2, 0, 0, ERR)), RECORD.pack(3, 0, 0, 7)])
def test_bytes_without_record_and_intent_are_lost(tmp_path: Path, slot: bytes) -> None:
    written(tmp_path, (OUT, b"one"))
    put_data(tmp_path, 3, b"two")
    put_slot(tmp_path, 1, slot)
    with resumed(tmp_path) as writer:
        writer.append(OUT, memoryview(b"three"), 9)
        assert read_all(tmp_path, writer.size) == [(0, OUT, b"one"), (3, None, 6), (6, OUT, b"three")]


def test_a_first_piece_without_a_record_is_completed(tmp_path: Path) -> None:
    written(tmp_path)
    put_data(tmp_path, 0, b"first")
    put_slot(tmp_path, 0, pack_intent(0, ERR))
    with resumed(tmp_path) as writer:
        assert read_all(tmp_path, writer.size) == [(0, ERR, b"first")]


@pytest.mark.parametrize("written_bytes", [0, 2, 5])
def test_bytes_of_a_copy_that_did_not_reach_the_file_are_lost(tmp_path: Path, written_bytes: int) -> None:
    written(tmp_path, (OUT, b"one"))
    put_data(tmp_path, 3, b"three"[:written_bytes])
    put_slot(tmp_path, 1, pack_intent(3, ERR, 5))
    with resumed(tmp_path) as writer:
        pieces = read_all(tmp_path, writer.size)
    stored = [(3, ERR, b"three"[:written_bytes])] if written_bytes else []
    lost = [(3 + written_bytes, None, 8)] if written_bytes < 5 else []
    assert pieces == [(0, OUT, b"one"), *stored, *lost]


@pytest.mark.parametrize("kept", [8, 16])
def test_a_record_torn_at_a_page_is_not_a_record(tmp_path: Path, kept: int) -> None:
    written(tmp_path, (OUT, b"one"))
    put_slot(tmp_path, 1, pack(Record(3, 77, 3, ERR))[:kept])
    with resumed(tmp_path) as writer:
        assert writer.size == 3
        with open_files(tmp_path) as files:
            assert not any(os.pread(files.index, 100, record_position(1)))


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


def test_more_lost_bytes_than_one_record_can_hold(tmp_path: Path) -> None:
    written(tmp_path, (OUT, b"one"))
    put_slot(tmp_path, 1, FREE)
    os.truncate(data_file(tmp_path), 10 << 30)
    with resumed(tmp_path) as writer:
        assert writer.size == 10 << 30
        assert read_all(tmp_path, writer.size, start=3)[-1][2] == 10 << 30


def test_a_log_without_files_is_refused_and_keeps_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(FileNotFoundError):
        LogWriter.resume(tmp_path)
    data_file(tmp_path).touch()
    with pytest.raises(FileNotFoundError):
        LogWriter.resume(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def abandon(logs: LogStore, job_id: str) -> None:
    """Leave a log as a supervisor does that is killed."""
    logs._live[job_id].close()


@pytest.mark.parametrize("left", [50_000, 0])
def test_a_trimmed_log_is_resumed(tmp_path: Path, left: int) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    writer = before.open("job")
    for number in range(5_000):
        writer.append(OutputSource(1 + number % 2), memoryview(bytes([number % 251]) * 100), number)
    writer.trim(left)
    extent, space = writer.extent, on_disk(tmp_path / "job")
    abandon(before, "job")
    with store(tmp_path, max_bytes=200_000) as logs:
        writer = logs.resume("job")
        assert (writer.extent, logs.total_bytes) == (extent, extent.stored)
        assert on_disk(tmp_path / "job") == space
        for _ in range(5_000):
            writer.append(OUT, memoryview(b"y" * 100), 1)
        assert writer.size == 1_000_000
        assert logs.total_bytes == writer.extent.stored <= 200_000
        assert read_all(tmp_path / "job", writer.size)[0] == (0, None, start_of(tmp_path / "job"))


def test_a_resumed_log_counts_and_ends(tmp_path: Path) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    before.open("job").append(OUT, memoryview(b"one"), 1)
    abandon(before, "job")
    with store(tmp_path) as logs:
        logs.resume("job").append(OUT, memoryview(b"two"), 2)
        assert logs.total_bytes == 6 + 2 * RECORD.size
        logs.end("job")
        assert read_all(tmp_path / "job", 6) == [(0, OUT, b"onetwo")]
        logs.discard("job")
        assert logs.total_bytes == 0


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
