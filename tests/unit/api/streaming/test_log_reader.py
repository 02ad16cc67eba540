"""Reads of one log: a log that is removed while a client reads it."""

from pathlib import Path

import pytest

from jobworkerd.api.streaming.log_reader import LogReader
from jobworkerd.api.streaming.message_cache import MessageCache, Sources
from jobworkerd.logs.ended import EndedLogsInMemory
from jobworkerd.logs.store import LogStore
from jobworkerd.model import OutputSource

SIZE = 40 * 1024 * 1024
"""Larger than what the store reclaims at once."""


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    """Return a store with the log of an ended job."""

    def no_error(error: OSError) -> None:
        raise AssertionError(error)

    logs = LogStore(tmp_path, SIZE * 2, SIZE * 2, no_error, EndedLogsInMemory())
    writer = logs.open("job")
    for offset in range(0, SIZE, 1 << 20):
        writer.append(OutputSource.STDOUT, memoryview(bytes([1 + offset % 7]) * (1 << 20)), offset + 1)
    logs.end("job")
    return logs


def test_a_removed_log_is_not_found_instead_of_a_gap(store: LogStore, tmp_path: Path) -> None:
    with LogReader(("job", ""), tmp_path / "job", MessageCache(0), 0, Sources()) as reader:
        assert reader.read(SIZE, 1 << 18)
        store.discard("job")
        while store.reclaim():
            pass
        with pytest.raises(FileNotFoundError):
            read_all(reader)


def read_all(reader: LogReader) -> None:
    while reader.offset < SIZE:
        reader.read(SIZE, 1 << 18)
