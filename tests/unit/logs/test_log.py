"""A log read while it is written, on a disk that can fail: readers get exactly the written bytes."""

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from host_resources import descriptors, opened_since
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs.cursor import Chunk, Gap, LogCursor, Skipped, open_cursor
from jobworkerd.logs.files import PAGE, open_files
from jobworkerd.logs.format import HEADER, RECORD, data_file, index_file
from jobworkerd.logs.seek import last_bytes, last_lines, since
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
LOST = None
Piece = Chunk | Gap | Skipped
RECORDS_IN_FIRST_SPACE = 4096 // RECORD.size


@contextmanager
def opened(directory: Path) -> Iterator[LogWriter]:
    writer = LogWriter.create(directory)
    try:
        yield writer
    finally:
        writer.close()


@contextmanager
def full_disk(writer: LogWriter) -> Iterator[None]:
    """Make every write to the log's data fail with ENOSPC, with full(4)."""
    kept, full = os.dup(writer._files.data), os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._files.data)
    try:
        yield
    finally:
        os.dup2(kept, writer._files.data)
        os.close(kept)
        os.close(full)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Make writes beyond a size fail with EFBIG; Python ignores the accompanying SIGXFSZ."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def read_all(directory: Path, size: int, *, start: int = 0, max_bytes: int = 1 << 20) -> list[Piece]:
    pieces = []
    with open_cursor(directory, start) as cursor:
        while cursor.offset < size:
            pieces.append(cursor.read(size, max_bytes))
    return pieces


def contents(pieces: list[Piece]) -> list[tuple[int, object]]:
    """Return offset and bytes, or offset and end for a gap."""
    return [(piece.offset, piece.data if isinstance(piece, Chunk) else piece.end) for piece in pieces]


@dataclass
class Model:
    """The expected content of the log, byte by byte."""

    data: bytearray = field(default_factory=bytearray)
    sources: list[OutputSource | None] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    def append(self, source: OutputSource | None, data: bytes, time_ns: int) -> None:
        # Consecutive losses are one record.
        same = source is LOST and self.sources[-1:] == [LOST]
        number = self.records[-1] + (not same) if self.records else 0
        self.records += [number] * len(data)
        self.data += data
        self.sources += [source] * len(data)
        self.times += [time_ns] * len(data)

    def check_next(self, cursor: LogCursor, end: int, max_bytes: int) -> None:
        """Read once and compare."""
        start = cursor.offset
        piece = cursor.read(end, max_bytes)
        assert piece.offset == start
        assert start < piece.end <= end
        assert cursor.offset == piece.end
        source = piece.source if isinstance(piece, Chunk) else LOST
        assert self.sources[start : piece.end] == [source] * (piece.end - start)
        if isinstance(piece, Chunk):
            assert piece.data == bytes(self.data[start : piece.end])
            assert len(piece.data) <= max_bytes
            assert piece.time_ns == self.times[start]
            limit = min(end, (start // max_bytes + 1) * max_bytes)
            page_ends = piece.end < end and self.records[piece.end] % PAGE == 0
            other = piece.end < end and self.sources[piece.end] != source
            assert piece.end == limit or page_ends or other, "a chunk is as long as it can be"


@dataclass(frozen=True)
class Write:
    source: OutputSource
    sizes: list[int]


@dataclass(frozen=True)
class Lose:
    size: int


@dataclass(frozen=True)
class Read:
    """A read by an open cursor, or by a new one that starts somewhere in the log."""

    reader: int
    part: float
    max_bytes: int


sources = st.sampled_from([OUT, ERR])
# Up to 120 records per step, so that the index exceeds its first allocation within a few steps.
writes = st.builds(Write, sources, st.lists(st.integers(1, 40), min_size=1, max_size=120))
losses = st.builds(Lose, st.integers(1, 50))
reads = st.builds(Read, st.integers(0, 3), st.floats(0, 1), st.integers(1, 500))


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(writes | losses | reads, max_size=40))
def test_readers_see_the_written_bytes(steps: list[Write | Lose | Read]) -> None:
    model = Model()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        writer = stack.enter_context(opened(directory))
        cursors: dict[int, LogCursor] = {}
        for time_ns, step in enumerate(steps, start=1):
            match step:
                case Write(source, sizes):
                    for number, size in enumerate(sizes):
                        data = os.urandom(size)
                        # Every third write is of the other source, which creates runs of records.
                        used = source if number % 3 else OutputSource(3 - source)
                        writer.append(used, memoryview(data), time_ns)
                        model.append(used, data, time_ns)
                case Lose(size):
                    with full_disk(writer):
                        writer.append(OUT, memoryview(bytes(size)), time_ns)
                    model.append(LOST, bytes(size), time_ns)
                case Read(reader, part, max_bytes):
                    if reader not in cursors:
                        start = int(part * writer.size)
                        cursors[reader] = stack.enter_context(open_cursor(directory, start))
                    cursor = cursors[reader]
                    left = writer.size - cursor.offset
                    if left:
                        end = cursor.offset + max(1, int(part * left))
                        model.check_next(cursor, end, max_bytes)
            assert writer.size == len(model.data)
        for cursor in cursors.values():
            while cursor.offset < writer.size:
                model.check_next(cursor, writer.size, 1 << 20)
        assert index_file(directory).stat().st_size >= RECORD.size


def test_an_empty_log_has_nothing_to_read(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        assert writer.size == 0
        assert read_all(tmp_path, 0) == []
    assert data_file(tmp_path).read_bytes() == b""


def test_a_part_that_the_disk_refuses_is_a_gap(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append(OUT, memoryview(b"a" * 6000), 1)
        with files_end_at(8192):
            writer.append(ERR, memoryview(b"b" * 5000), 2)
            writer.append(OUT, memoryview(b"c" * 1000), 3)
        writer.append(OUT, memoryview(b"again"), 4)
        size = writer.size
    assert size == 12_005
    expected = [(0, b"a" * 6000), (6000, b"b" * 2192), (8192, 12_000), (12_000, b"again")]
    pieces = read_all(tmp_path, size)
    assert contents(pieces) == expected
    assert isinstance(pieces[2], Gap)
    assert "could not store" in pieces[2].reason
    assert contents(read_all(tmp_path, size, start=9000)) == [(9000, 12_000), (12_000, b"again")]


def test_a_full_disk_that_has_no_space_for_the_index_either(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        with files_end_at(HEADER.size + RECORDS_IN_FIRST_SPACE * RECORD.size):
            for number in range(RECORDS_IN_FIRST_SPACE + 50):
                writer.append(OutputSource(number % 2 + 1), memoryview(b"x"), number)
        lost_until = writer.size
        writer.append(OUT, memoryview(b"again"), 1)
        pieces = read_all(tmp_path, writer.size)
    assert lost_until == RECORDS_IN_FIRST_SPACE + 50
    stored = RECORDS_IN_FIRST_SPACE - 1
    assert contents(pieces[:stored]) == [(number, b"x") for number in range(stored)]
    assert contents(pieces[stored:]) == [(stored, lost_until), (lost_until, b"again")]


def test_a_lost_range_grows_under_its_reader(tmp_path: Path) -> None:
    with opened(tmp_path) as writer, open_cursor(tmp_path, 0) as cursor:
        with full_disk(writer):
            writer.append(OUT, memoryview(b"12345"), 1)
            assert contents([cursor.read(writer.size, 100)]) == [(0, 5)]
            writer.append(ERR, memoryview(b"678"), 2)
            assert contents([cursor.read(writer.size - 1, 100)]) == [(5, 7)]
            writer.append(OUT, memoryview(b"9"), 3)
        writer.append(OUT, memoryview(b"back"), 4)
        assert contents([cursor.read(writer.size, 100) for _ in range(2)]) == [(7, 8), (8, 9)]
        assert contents([cursor.read(writer.size, 100)]) == [(9, b"back")]


def test_a_lost_range_that_grew_while_the_reader_was_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as writer, open_cursor(tmp_path, 0) as cursor:
        writer.append(OUT, memoryview(b"first"), 1)
        with full_disk(writer):
            writer.append(OUT, memoryview(b"12345"), 2)
            assert contents([cursor.read(5, 100)]) == [(0, b"first")]
            writer.append(OUT, memoryview(b"678"), 3)
        writer.append(OUT, memoryview(b"back"), 4)
        pieces = [cursor.read(writer.size, 100) for _ in range(3)]
    assert contents(pieces) == [(5, 10), (10, 13), (13, b"back")]


def test_the_data_file_has_only_the_bytes(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append(OUT, memoryview(b"one\n"), 1)
        writer.append(ERR, memoryview(b"two\n"), 2)
    assert data_file(tmp_path).read_bytes() == b"one\ntwo\n"


def test_preallocated_space_is_not_read_as_records(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.append(OUT, memoryview(b"one"), 1)
    assert index_file(tmp_path).stat().st_size > RECORD.size
    assert contents(read_all(tmp_path, 3)) == [(0, b"one")]
    with open_cursor(tmp_path, 3) as cursor:
        assert isinstance(cursor.read(4, 10), Gap)


def test_missing_bytes_of_the_data_file_are_a_gap(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        for source, data in ((OUT, b"one two"), (ERR, b"three"), (OUT, b"four")):
            writer.append(source, memoryview(data), 1)
    os.truncate(data_file(tmp_path), 3)
    pieces = read_all(tmp_path, 16)
    assert contents(pieces) == [(0, b"one"), (3, 7), (7, 12), (12, 16)]
    assert isinstance(pieces[1], Gap)
    assert "disk lost it" in pieces[1].reason


@pytest.mark.parametrize("left", [0, 7, HEADER.size, HEADER.size + 30, HEADER.size + 2 * RECORD.size])
def test_missing_records_are_a_gap(tmp_path: Path, left: int) -> None:
    with opened(tmp_path) as writer:
        for source, data in ((OUT, b"one"), (ERR, b"two"), (OUT, b"three")):
            writer.append(source, memoryview(data), 1)
    os.truncate(index_file(tmp_path), left)
    records = max(left - HEADER.size, 0) // RECORD.size
    expected = [(0, b"one"), (3, b"two")][:records]
    pieces = read_all(tmp_path, 11)
    assert contents(pieces) == [*expected, (3 * records, 11)]
    with open_files(tmp_path) as files:
        assert last_lines(files, 1, 11) <= 11
        assert last_bytes(files, 1, 11, OUT) <= 11
        assert since(files, 0, 11) in (0, 11)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    before = descriptors()
    with opened(tmp_path) as writer, open_cursor(tmp_path, 0):
        assert writer.size == 0
        assert opened_since(before).total() == 4
    with pytest.raises(FileExistsError):
        LogWriter.create(tmp_path)
    index_file(tmp_path).unlink()
    with pytest.raises(FileNotFoundError), open_cursor(tmp_path, 0):
        pass
    data_file(tmp_path).unlink()
    index_file(tmp_path).touch()
    with pytest.raises(FileExistsError):
        LogWriter.create(tmp_path)
    assert not opened_since(before)
