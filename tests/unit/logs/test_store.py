"""Logs within their bounds: the oldest bytes are trimmed, and a reader gets the exact range."""

import os
from pathlib import Path

import pytest

from jobworkerd.logs import hole_punch
from jobworkerd.logs.cursor import Chunk, Gap, LogCursor, open_cursor
from jobworkerd.logs.files import PAGE
from jobworkerd.logs.format import RECORD, data_file
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource
from tests.unit.logs.stores import ERR, OUT, UNBOUNDED, on_disk, start_of, store


def trickled(directory: Path, count: int, *sources: OutputSource) -> LogWriter:
    """Write a byte every millisecond, alternately to the sources."""
    writer = LogWriter.create(directory)
    for number in range(count):
        writer.append(sources[number % len(sources)], memoryview(b"x"), 1_000_000 * number)
    return writer


def test_single_bytes_are_read_in_full_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_alternating_sources_are_read_in_full_chunks(tmp_path: Path) -> None:
    writer = trickled(tmp_path, 1_000, OUT, ERR, ERR)
    with open_cursor(tmp_path, 1) as cursor:
        chunk = cursor.read(writer.size, 1 << 18, mixed=True)
    assert isinstance(chunk, Chunk)
    assert (chunk.source, chunk.end) == (ERR, 1_000)
    assert list(chunk.run_bytes) == [2, 1] * 333
    with open_cursor(tmp_path, 1) as cursor:
        assert cursor.read(writer.size, 1 << 18).end == 3, "of one source without `mixed`"
        chunk = LogCursor(cursor._files, 3).read(writer.size, 1 << 18, OUT, mixed=True)
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.end, list(chunk.run_bytes[:3])) == (b"x" * 333, 1_000, [1, 2, 1])
    writer.close()


def test_space_is_reclaimed_and_the_last_bytes_remain(tmp_path: Path) -> None:
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


def test_ended_logs_are_trimmed_first_and_then_the_longest(tmp_path: Path) -> None:
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


def test_bytes_trimmed_between_two_reads_are_reported(tmp_path: Path) -> None:
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


def test_bytes_trimmed_during_a_read_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_readers_from_different_offsets_converge_to_the_same_chunks(tmp_path: Path) -> None:
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


def test_no_range_is_lost_silently_if_records_cannot_be_written(tmp_path: Path) -> None:
    writer = LogWriter.create(tmp_path)
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


def test_a_failed_trim_is_reported_once_and_output_continues(
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


def test_a_log_that_cannot_be_created_leaves_no_files(tmp_path: Path) -> None:
    (tmp_path / "job").touch()
    with store(tmp_path) as logs:
        with pytest.raises(NotADirectoryError):
            logs.open("job")
        assert (tmp_path / "job").read_bytes() == b""
        logs.open("job-2")
        logs.discard("job-2")


def test_an_existing_log_is_not_overwritten(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        logs.open("job").append(OUT, memoryview(b"x"), 1)
        with pytest.raises(OSError, match="not empty"):
            logs.open("job")
        logs.discard("job")


def test_a_prepared_log_is_used_for_the_next_job(tmp_path: Path) -> None:
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
