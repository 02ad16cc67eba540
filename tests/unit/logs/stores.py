"""Log stores and logs for tests, their contents, and the space that their files take."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobworkerd.logs.cursor import Chunk, Gap, open_cursor
from jobworkerd.logs.ended import EndedLogs
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import RECORD, data_file, index_file, record_position
from jobworkerd.logs.store import LogStore
from jobworkerd.logs.writer import LogWriter
from jobworkerd.model import OutputSource

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
UNBOUNDED = 1 << 40
FREE = bytes(RECORD.size)
SLOT_NS = 10_000_000


def no_error(error: OSError) -> None:
    raise AssertionError(error)


@contextmanager
def store(
    directory: Path,
    max_bytes: int = UNBOUNDED,
    max_total_bytes: int = UNBOUNDED,
    ended: EndedLogs | None = None,
) -> Iterator[LogStore]:
    logs = LogStore(directory, max_bytes, max_total_bytes, no_error, ended)
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
    """Return the disk space of the log's files (st_blocks counts 512 bytes, stat(2))."""
    return sum(file.stat().st_blocks * 512 for file in (data_file(directory), index_file(directory)))


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
