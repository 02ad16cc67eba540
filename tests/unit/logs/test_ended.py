"""Logs that ended before the log store was opened: their space counts, and they are trimmed first."""

import errno
import os
from pathlib import Path

import pytest

from jobworkerd.logs.ended import EndedLogsInMemory
from jobworkerd.logs.format import data_file
from jobworkerd.logs.store import NEXT, LogStore
from tests.unit.logs.stores import ERR, OUT, UNBOUNDED, no_error, start_of, store

DATA = memoryview(bytes(300_000))


def end_logs(directory: Path, *job_ids: str) -> EndedLogsInMemory:
    """Write and end logs in a store that is then gone, and return what the records have of them."""
    ended = EndedLogsInMemory()
    with store(directory, ended=ended) as logs:
        for job_id in job_ids:
            logs.open(job_id).append(OUT, DATA, 1)
            logs.end(job_id)
    return ended


def test_earlier_logs_count_and_are_trimmed_first(tmp_path: Path) -> None:
    ended = end_logs(tmp_path, "first", "second")
    with store(tmp_path, max_total_bytes=800_000, ended=ended) as logs:
        assert logs.total_bytes == ended.total > 600_000
        writer = logs.open("job")
        writer.append(OUT, DATA, 1)
        assert 0 < start_of(tmp_path / "first") < len(DATA)
        assert start_of(tmp_path / "second") == 0
        for _ in range(10):
            writer.append(ERR, DATA, 1)
        assert start_of(tmp_path / "first") == start_of(tmp_path / "second") == len(DATA)
        assert ended.total == 0
        assert logs.total_bytes == writer.extent.stored <= 800_000
        logs.discard("first")
        assert logs.total_bytes == writer.extent.stored


def test_a_lowered_bound_is_enforced_in_steps(tmp_path: Path) -> None:
    ended = EndedLogsInMemory()
    with store(tmp_path, ended=ended) as logs:
        for number in range(200):
            logs.open(f"{number}").append(OUT, DATA[:10_000], 1)
            logs.end(f"{number}")
    one = ended.total // 200
    with store(tmp_path, max_total_bytes=1_000_000, ended=ended) as logs:
        writer = logs.open("job")
        writer.append(OUT, DATA[:10], 1)
        assert logs.total_bytes == 136 * one + writer.extent.stored
        steps = 0
        while logs.reclaim():
            steps += 1
        assert steps == 37
        assert 1_000_000 - one < logs.total_bytes <= 1_000_000
        assert start_of(tmp_path / "job") == 0


def test_an_earlier_log_is_discarded_with_its_space(tmp_path: Path) -> None:
    ended = end_logs(tmp_path, "first", "second")
    with store(tmp_path, ended=ended) as logs:
        one = logs.total_bytes // 2
        logs.discard("first")
        assert logs.total_bytes == ended.total == one
        assert [entry.name for entry in tmp_path.iterdir()] == ["second"]


def test_an_earlier_log_is_discarded_without_a_free_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    ended = end_logs(tmp_path, "first")
    with store(tmp_path, ended=ended) as logs, monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        logs.discard("first")
        assert abs(logs.total_bytes) <= 16_384
        assert list(tmp_path.iterdir()) == []


def test_an_ended_log_whose_files_are_gone_is_no_space(tmp_path: Path) -> None:
    ended = end_logs(tmp_path, "first", "second")
    data_file(tmp_path / "first").unlink()
    with store(tmp_path, max_total_bytes=700_000, ended=ended) as logs:
        writer = logs.open("job")
        writer.append(OUT, DATA, 1)
        assert start_of(tmp_path / "second") == 0
        assert logs.total_bytes == ended.total + writer.extent.stored


def test_no_log_to_trim_is_left(tmp_path: Path) -> None:
    class Stale(EndedLogsInMemory):
        """Counts a log that it no longer has."""

        @property
        def total(self) -> int:
            return 1_000_000

    with store(tmp_path, max_total_bytes=700_000, ended=Stale()) as logs:
        writer = logs.open("job")
        writer.append(OUT, DATA, 1)
        assert start_of(tmp_path / "job") == writer.size
        logs.end("job")


def test_the_prepared_log_of_an_earlier_store_is_replaced(tmp_path: Path) -> None:
    LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error).prepare()
    data_file(tmp_path / NEXT).write_bytes(b"not of the next job")
    with store(tmp_path) as logs:
        logs.prepare()
        assert data_file(tmp_path / NEXT).read_bytes() == b""
        logs.open("job")


def test_the_log_of_a_lost_job_is_ended(tmp_path: Path) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    before.open("job").append(OUT, memoryview(b"last words"), 1)
    ended = EndedLogsInMemory()
    with store(tmp_path, ended=ended) as logs:
        assert logs.end_abandoned("job") == 10
        assert not logs.is_live("job")
        assert logs.total_bytes == ended.total == 34
        assert logs.end_abandoned("without a log") == 0


def test_the_unreadable_log_of_a_lost_job_has_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    before.open("job").append(OUT, memoryview(b"last words"), 1)
    with store(tmp_path) as logs:
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refuse)
            with pytest.raises(OSError, match="the log of job job cannot be opened"):
                logs.end_abandoned("job")
            assert not logs.is_live("job")
        assert logs.end_abandoned("job") == 10


def test_a_loss_is_recorded_before_another_store_resumes_the_log(tmp_path: Path) -> None:
    before = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, no_error)
    writer = before.open("job")
    kept, full = os.dup(writer._files.index), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, writer._files.index)
    writer.append(OUT, memoryview(b"lost"), 1)
    os.dup2(kept, writer._files.index)
    assert (writer.unrecorded, writer.size) == (4, 0)
    before.close()
    with store(tmp_path) as logs:
        assert logs.resume("job").size == 4
    for each in (kept, full):
        os.close(each)
