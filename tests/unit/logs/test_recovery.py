"""A log continued after a kill of its writer."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from host_resources import descriptors, opened_since

from jobworkerd.logs.cursor import Chunk, open_cursor
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import (
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
from tests.unit.logs.stores import (
    ERR,
    FREE,
    OUT,
    UNBOUNDED,
    no_error,
    on_disk,
    put_data,
    put_slot,
    read_all,
    resumed,
    start_of,
    store,
    written,
)

FULL_PAGE = 200
"""More records than the writer allocates at once."""


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


def test_a_log_without_files_is_refused_and_keeps_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        LogWriter.resume(tmp_path)
    data_file(tmp_path).touch()
    with pytest.raises(FileNotFoundError):
        LogWriter.resume(tmp_path)
    assert not opened_since(before)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EMFILE])
def test_a_log_that_cannot_be_opened_yet_is_resumed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    before.open("job").append(OUT, memoryview(b"one"), 1)
    abandon(before, "job")
    put_data(tmp_path / "job", 3, b"two")

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR or number != errno.EROFS:
            raise OSError(number, os.strerror(number))
        return opened(path, flags, mode)

    opened, pipe = os.open, os.pipe2(os.O_NONBLOCK)
    monkeypatch.setattr(os, "open", refuse)
    with store(tmp_path) as logs:
        writer = logs.resume("job")
        if number == errno.EROFS:
            assert writer.size == 3, "the size that readers know"
        os.write(pipe[1], b"lost")
        with pytest.raises(OSError, match=os.strerror(number)):
            writer.splice(pipe[0], OUT, 2)
        assert writer.copy(pipe[0], OUT, memoryview(bytearray(10)), 2) == 4
        assert writer.unrecorded == 4
        monkeypatch.undo()
        os.write(pipe[1], b"back")
        writer.splice(pipe[0], ERR, 3)
        assert writer.unrecorded == 0
        assert logs.total_bytes == writer.extent.stored
        pieces = read_all(tmp_path / "job", writer.size)
    assert pieces == [(0, OUT, b"onetwo"), (6, None, 10), (10, ERR, b"back")]
    for end in pipe:
        os.close(end)


@pytest.mark.parametrize("closed", [False, True])
def test_a_copy_that_reads_nothing_is_no_loss(tmp_path: Path, *, closed: bool) -> None:
    logs = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    writer = logs.open("job")
    reading, writing = os.pipe2(os.O_NONBLOCK)
    if closed:
        os.close(writing)
        assert writer.copy(reading, OUT, memoryview(bytearray(10)), 2) == 0
    else:
        with pytest.raises(BlockingIOError):
            writer.copy(reading, OUT, memoryview(bytearray(10)), 2)
        os.close(writing)
    os.close(reading)
    abandon(logs, "job")
    with resumed(tmp_path / "job") as writer:
        assert writer.size == 0


def test_a_log_that_can_never_be_opened_again_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    before.open("job").append(OUT, memoryview(b"one"), 1)
    abandon(before, "job")
    errors: list[OSError] = []
    logs = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, errors.append)
    with monkeypatch.context() as patch:
        patch.setattr("jobworkerd.logs.writer.recover", failing(errno.EIO))
        writer = logs.resume("job")
        writer.append(OUT, memoryview(b"lost"), 2)
        logs.end("job")
    assert "4 bytes of output of job job are lost without a record" in str(errors)
    assert read_all(tmp_path / "job", 3) == [(0, OUT, b"one")]


def failing(number: int) -> Callable[..., None]:
    def fail(*_args: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


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
