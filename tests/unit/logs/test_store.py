"""Logs within their bounds: what is given up is the oldest, and a reader learns exactly what."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobworkerd.logs import hole_punch
from jobworkerd.logs.cursor import Chunk, Gap, LogCursor, Passed, open_cursor
from jobworkerd.logs.files import PAGE, open_files
from jobworkerd.logs.format import RECORD, data_file, index_file
from jobworkerd.logs.seek import last_bytes, last_lines, since
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
UNBOUNDED = 1 << 40
SLOT_NS = 10_000_000


def no_error(error: OSError) -> None:
    raise AssertionError(error)


@contextmanager
def store(
    directory: Path, max_bytes: int = UNBOUNDED, max_total_bytes: int = UNBOUNDED
) -> Iterator[LogStore]:
    logs = LogStore(directory, max_bytes, max_total_bytes, no_error)
    try:
        yield logs
    finally:
        for job_id in list(logs._live):
            logs.discard(job_id)
        logs.close()


def start_of(directory: Path) -> int:
    with open_files(directory) as files:
        return files.header().start


def on_disk(directory: Path) -> int:
    """Returns the bytes that the log's files take (st_blocks counts 512 bytes, stat(2))."""
    return sum(file.stat().st_blocks * 512 for file in (data_file(directory), index_file(directory)))


@dataclass
class Model:
    """A log that fits in one's head: a source and a time for each byte."""

    data: bytearray = field(default_factory=bytearray)
    sources: list[OutputSource] = field(default_factory=list)
    times: list[int] = field(default_factory=list)

    def append(self, source: OutputSource, data: bytes, time_ns: int) -> None:
        self.data += data
        self.sources += [source] * len(data)
        self.times += [time_ns] * len(data)

    def check(self, piece: Chunk | Gap | Passed, start: int, source: OutputSource | None) -> None:
        """Compares one piece that was read when the log began at `start`."""
        match piece:
            case Gap(offset, end, reason):
                assert offset < end == start, "exactly what is gone"
                assert "size limit" in reason
            case Passed(offset, end):
                assert offset < end
                assert source is not None
                assert source not in self.sources[offset:end]
            case Chunk(offset, of, time_ns, data):
                told = range(offset, piece.end)
                assert data == bytes(self.data[at] for at in told if source in (self.sources[at], None))
                assert sources_of(piece) == self.sources[offset : piece.end]
                assert source in (of, None)
                assert time_ns == self.times[offset]
                self.check_spans(piece)

    def check_spans(self, chunk: Chunk) -> None:
        """Each span has the time of its first byte, and is as long as the bytes are of that time."""
        begin = chunk.offset
        for length, usec in zip(
            chunk.span_bytes or (chunk.end - chunk.offset,), chunk.span_usec or (0,), strict=True
        ):
            times = self.times[begin : begin + length]
            assert usec == (times[0] - chunk.time_ns) // 1_000
            assert len({time // SLOT_NS for time in times}) == 1
            begin += length
            if begin < chunk.end:
                assert self.times[begin] // SLOT_NS != times[0] // SLOT_NS
        assert begin == chunk.end

    def offsets(self, source: OutputSource | None) -> list[int]:
        return [offset for offset, each in enumerate(self.sources) if source in (each, None)]

    def last_bytes(self, count: int, source: OutputSource | None) -> int:
        """0 if there are not so many."""
        offsets = self.offsets(source)
        if count == 0:
            return len(self.data)
        return offsets[-count] if count <= len(offsets) else 0

    def last_lines(self, count: int, source: OutputSource | None) -> int:
        """Behind a line end, as the next byte of the source may be further; 0 if there are not so many."""
        offsets = self.offsets(source)
        if count == 0:
            return len(self.data)
        ends = [offset + 1 for offset in offsets[:-1] if self.data[offset] == ord("\n")]
        return ends[-count] if count <= len(ends) else 0

    def since(self, time_ns: int) -> int:
        return next((offset for offset, time in enumerate(self.times) if time >= time_ns), len(self.data))


@dataclass(frozen=True)
class Write:
    source: OutputSource
    sizes: list[int]
    pause_ns: int


@dataclass(frozen=True)
class Read:
    """A read by one of the open cursors, or by a new one that starts somewhere in the log."""

    reader: int
    part: float
    max_bytes: int
    source: OutputSource | None
    mixed: bool


def sources_of(chunk: Chunk) -> list[OutputSource]:
    """Returns the source of each byte of a chunk."""
    found: list[OutputSource] = []
    source = chunk.source
    for length in chunk.run_bytes or (len(chunk.data),):
        assert length > 0
        found += [source] * length
        source = OutputSource(3 - source)
    return found


sources = st.sampled_from([OUT, ERR])
filters = st.sampled_from([OUT, ERR, None])
writes = st.builds(
    Write,
    sources,
    st.lists(st.integers(1, 9_000), min_size=1, max_size=60),
    st.sampled_from([0, 1_000_000, 50_000_000, -7]),
)
reads = st.builds(
    Read, st.integers(0, 3), st.floats(0, 1), st.sampled_from([7, 500, 4096, 70_000]), filters, st.booleans()
)


def some_output(size: int, seed: int) -> bytes:
    """Returns bytes that no other offset has by chance, with a line end every now and then."""
    return bytes(10 if (seed + i) % 37 == 0 else (seed * 31 + i * 7) % 251 for i in range(size))


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(writes | reads, max_size=25), bound=st.sampled_from([UNBOUNDED, 70_000, 200_000]))
def test_readers_of_a_bounded_log_see_what_is_left_of_it(steps: list[Write | Read], bound: int) -> None:
    model, now = Model(), 1_000_000_000
    with tempfile.TemporaryDirectory() as name, store(Path(name), max_bytes=bound) as logs:
        directory = Path(name, "job")
        writer = logs.open("job")
        readers: dict[int, tuple[LogCursor, OutputSource | None]] = {}
        contexts = []
        for step in steps:
            match step:
                case Write(source, sizes, pause_ns):
                    for number, size in enumerate(sizes):
                        used = source if number % 3 else OutputSource(3 - source)
                        data = some_output(size, writer.size + number)
                        writer.append(used, memoryview(data), now + number)
                        latest = model.times[-1] if model.times else 0
                        model.append(used, data, max(latest, now + number))
                        now += pause_ns
                case Read(reader, part, max_bytes, only, mixed):
                    if reader not in readers:
                        context = open_cursor(directory, int(part * writer.size))
                        readers[reader] = (context.__enter__(), only)
                        contexts.append(context)
                    cursor, only = readers[reader]
                    if cursor.offset < writer.size:
                        before = cursor.offset
                        piece = cursor.read(writer.size, max_bytes, only, mixed=mixed)
                        assert piece.offset == before
                        assert piece.end == cursor.offset <= writer.size
                        model.check(piece, start_of(directory), only)
            assert writer.size == len(model.data)
            assert writer.extent.stored <= bound
            assert logs.total_bytes == writer.extent.stored
        start = start_of(directory)
        assert (bound == UNBOUNDED) <= (start == 0)
        for cursor, only in readers.values():
            while cursor.offset < writer.size:
                mixed = cursor.offset % 2 == 0
                model.check(cursor.read(writer.size, 1 << 18, only, mixed=mixed), start, only)
        check_places(directory, model, start)
        for context in contexts:
            context.__exit__(None, None, None)


def check_places(directory: Path, model: Model, start: int) -> None:
    """Compares each place of which enough is left, and that others are 0, where the gap is told of."""
    end = len(model.data)
    with open_files(directory) as files:
        for source in (OUT, ERR, None):
            for count in (0, 1, 2, 100, 10**6):
                assert last_bytes(files, count, end, source) in known(model.last_bytes(count, source), start)
                assert last_lines(files, count, end, source) in known(model.last_lines(count, source), start)
        for time in {*model.times[:: max(1, end // 5)], 0, UNBOUNDED << 20}:
            assert since(files, time, end) in known(model.since(time), start)


def known(place: int, start: int) -> set[int]:
    """A place that was given up may be told as it is, or as 0: both are before the gap that is told of."""
    return {place} if place > start else {place, 0} if place < start else {start, 0}


def trickled(directory: Path, count: int, *sources: OutputSource) -> LogWriter:
    """Writes a byte every millisecond, by turns to some sources."""
    writer = LogWriter(directory)
    for number in range(count):
        writer.append(sources[number % len(sources)], memoryview(b"x"), 1_000_000 * number)
    return writer


def test_a_log_that_was_written_in_bytes_is_read_in_full_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobworkerd.logs.cursor.PAGE", 1_000)
    writer = trickled(tmp_path, 2_500, OUT)
    with open_cursor(tmp_path, 0) as cursor:
        pieces = [cursor.read(writer.size, 1 << 18) for _ in range(3)]
    assert [piece.end for piece in pieces] == [1_000, 2_000, 2_500]
    first = pieces[0]
    assert isinstance(first, Chunk)
    assert list(first.span_bytes[:2]) == [10, 10]
    assert list(first.span_usec[:3]) == [0, 10_000, 20_000]
    writer.close()


def test_a_cursor_at_the_end_keeps_no_records_in_memory(tmp_path: Path) -> None:
    writer = trickled(tmp_path, 2_000, OUT)
    with open_cursor(tmp_path, 0) as cursor:
        cursor.read(writer.size, 1 << 18)
        assert len(cursor._records) == 0
        writer.append(OUT, memoryview(b"more"), 1 << 50)
        assert cursor.read(writer.size, 1 << 18).end == 2_004
    writer.close()


def test_two_sources_by_turns_are_read_in_full_chunks(tmp_path: Path) -> None:
    writer = trickled(tmp_path, 1_000, OUT, ERR, ERR)
    with open_cursor(tmp_path, 1) as cursor:
        chunk = cursor.read(writer.size, 1 << 18, mixed=True)
    assert isinstance(chunk, Chunk)
    assert (chunk.source, chunk.end) == (ERR, 1_000)
    assert list(chunk.run_bytes) == [2, 1] * 333
    with open_cursor(tmp_path, 1) as cursor:
        assert cursor.read(writer.size, 1 << 18).end == 3, "of one source, if not asked for both"
        chunk = LogCursor(cursor._files, 3).read(writer.size, 1 << 18, OUT, mixed=True)
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.end, list(chunk.run_bytes[:3])) == (b"x" * 333, 1_000, [1, 2, 1])
    writer.close()


def test_space_comes_back_and_the_last_bytes_stay(tmp_path: Path) -> None:
    bound = 1 << 20
    with store(tmp_path, max_bytes=bound) as logs:
        writer = logs.open("job")
        for number in range(400):
            writer.append(OUT, memoryview(bytes([number % 256]) * 10_000), number)
        assert writer.size == 4_000_000
        start = start_of(tmp_path / "job")
        assert bound * 7 // 8 - 2 * hole_punch.BLOCK - 10_000 <= writer.size - start <= bound
        assert on_disk(tmp_path / "job") <= bound + 4 * hole_punch.BLOCK
        assert data_file(tmp_path / "job").stat().st_size == 4_000_000
        with open_cursor(tmp_path / "job", 0) as cursor:
            gap = cursor.read(writer.size, 1 << 18)
            assert gap == Gap(0, start, gap.reason) if isinstance(gap, Gap) else False
            first = cursor.read(writer.size, 1 << 18)
            assert isinstance(first, Chunk)
            assert first.offset == start
            assert first.data[0] == start // 10_000 % 256


def test_an_index_of_tiny_writes_is_bounded_too(tmp_path: Path) -> None:
    bound = 1 << 17
    with store(tmp_path, max_bytes=bound) as logs:
        writer = logs.open("job")
        for number in range(30_000):
            writer.append(OutputSource(1 + number % 2), memoryview(b"x"), number)
        assert on_disk(tmp_path / "job") <= bound + 4 * hole_punch.BLOCK
        assert writer.extent.records - writer.extent.first_record >= bound * 3 // 4 // (RECORD.size + 1)


def test_ended_logs_go_first_and_then_the_longest(tmp_path: Path) -> None:
    with store(tmp_path, max_total_bytes=800_000) as logs:
        data = memoryview(bytes(300_000))
        logs.open("first").append(OUT, data, 1)
        logs.end("first")
        logs.open("second").append(OUT, data, 1)
        logs.end("second")
        short, long = logs.open("short"), logs.open("long")
        short.append(OUT, data[:100_000], 1)
        long.append(OUT, data, 1)
        assert start_of(tmp_path / "first") > 0
        assert start_of(tmp_path / "second") == 0
        for _ in range(10):
            long.append(OUT, data, 1)
        assert start_of(tmp_path / "first") == start_of(tmp_path / "second") == 300_000
        assert start_of(tmp_path / "short") == 0
        assert start_of(tmp_path / "long") > 0
        assert logs.total_bytes <= 800_000
        with open_cursor(tmp_path / "second", 0) as cursor:
            gap = cursor.read(300_000, 1 << 18)
            assert (gap.offset, gap.end, type(gap)) == (0, 300_000, Gap)
        for job_id in ("first", "second", "short", "long"):
            logs.discard(job_id)
        assert logs.total_bytes == 0
        assert list(tmp_path.iterdir()) == []


def test_bytes_given_up_between_two_reads_are_told_of(tmp_path: Path) -> None:
    with store(tmp_path, max_bytes=100_000) as logs:
        writer = logs.open("job")
        writer.append(OUT, memoryview(b"a" * 50_000), 1)
        with open_cursor(tmp_path / "job", 0) as cursor:
            assert isinstance(cursor.read(writer.size, 1000), Chunk)
            writer.append(ERR, memoryview(b"b" * 120_000), 2)
            gap, rest = cursor.read(writer.size, 1000), cursor.read(writer.size, 1000)
        start = start_of(tmp_path / "job")
        assert (gap.offset, gap.end, rest.offset) == (1000, start, start)
        assert isinstance(rest, Chunk)
        assert set(rest.data) == {ord("b")}


def test_bytes_given_up_while_they_are_read_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store(tmp_path, max_bytes=100_000) as logs:
        writer = logs.open("job")
        writer.append(OUT, memoryview(b"a" * 50_000), 1)

        def read_late(cursor: LogCursor, end: int) -> bytes:
            writer.append(OUT, memoryview(b"b" * 120_000), 2)
            return read(cursor, end) or b""

        with open_cursor(tmp_path / "job", 0) as cursor:
            read = LogCursor._bytes
            monkeypatch.setattr(LogCursor, "_bytes", read_late)
            piece = cursor.read(50_000, 1000)
        assert isinstance(piece, Gap)
        assert (piece.offset, piece.end) == (0, 50_000)


def test_readers_from_different_offsets_come_to_share_their_chunks(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        writer = logs.open("job")
        for number in range(3 * PAGE):
            writer.append(OUT, memoryview(b"a line\n" * (1 + number % 5)), number * 1000)

        def ends(offset: int) -> set[int]:
            with open_cursor(tmp_path / "job", offset) as cursor:
                found = set()
                while cursor.offset < writer.size:
                    found.add(cursor.read(writer.size, 4096).end)
                return found

        assert ends(12_345) == {end for end in ends(0) if end > 12_345}


def test_a_disk_that_takes_no_record_loses_no_range_silently(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append(OUT, memoryview(b"before"), 1)
    kept, full = os.dup(writer._files.index), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, writer._files.index)
    writer.append(OUT, memoryview(b"unrecorded"), 2)
    assert writer.size == 6
    os.dup2(kept, writer._files.index)
    writer.append(OUT, memoryview(b"after"), 3)
    with open_cursor(tmp_path, 0) as cursor:
        pieces = [cursor.read(writer.size, 100) for _ in range(3)]
    assert [(piece.offset, piece.end, type(piece)) for piece in pieces] == [
        (0, 6, Chunk),
        (6, 16, Gap),
        (16, 21, Chunk),
    ]
    writer.close()
    os.close(kept)
    os.close(full)


def test_a_failure_to_give_space_back_is_reported_once_and_output_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(5, "Input/output error")

    errors: list[OSError] = []
    logs = LogStore(tmp_path, 65_536, UNBOUNDED, errors.append)
    writer = logs.open("job")
    monkeypatch.setattr("jobworkerd.logs.retention.punch", refuse)
    for _ in range(5):
        writer.append(OUT, memoryview(bytes(50_000)), 1)
    assert (len(errors), writer.size) == (1, 250_000)
    monkeypatch.undo()
    writer.append(OUT, memoryview(b"x"), 1)
    assert logs.total_bytes == writer.extent.stored <= 65_536
    logs.discard("job")


def test_a_directory_is_checked_for_holes(tmp_path: Path) -> None:
    hole_punch.check(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"not supported|No such|Permission denied"):
        hole_punch.check(Path("/proc"))


def test_a_log_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "job").touch()
    with store(tmp_path) as logs:
        with pytest.raises(NotADirectoryError):
            logs.open("job")
        assert (tmp_path / "job").read_bytes() == b""
        logs.open("job-2")
        logs.discard("job-2")


def test_a_log_that_is_there_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        logs.open("job").append(OUT, memoryview(b"x"), 1)
        with pytest.raises(OSError, match="not empty"):
            logs.open("job")
        logs.discard("job")


def test_a_log_that_was_prepared_is_the_next_one(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        logs.prepare()
        (inode,) = (entry.stat().st_ino for entry in tmp_path.iterdir())
        logs.open("job").append(OUT, memoryview(b"x"), 1)
        assert (tmp_path / "job").stat().st_ino == inode
        assert (tmp_path / "job" / "output.log").read_bytes() == b"x"
        logs.prepare()
        logs.prepare()
        logs.discard("job")
    assert list(tmp_path.iterdir()) == []
