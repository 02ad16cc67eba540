"""The totals of a store count each byte of output once: as written or as lost."""

import os
from pathlib import Path

from jobworkerd.logs.store import LogStore
from tests.unit.logs.stores import ERR, OUT, UNBOUNDED, store, written
from tests.unit.logs.test_log import files_end_at, full_disk


def test_appended_and_spliced_bytes_are_written(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with store(tmp_path) as logs:
        writer = logs.open("job")
        writer.append(OUT, memoryview(b"appended"), 1)
        os.write(writing, b"spliced")
        assert writer.splice(reading, ERR, 2) == 7
        assert (logs.totals.written, logs.totals.lost) == (15, 0)
    os.close(reading)
    os.close(writing)


def test_the_logs_of_all_jobs_count(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        for job_id in ("one", "two"):
            logs.open(job_id).append(OUT, memoryview(b"abc"), 1)
        logs.end("one")
        assert logs.totals.written == 6


def test_bytes_that_a_full_disk_refuses_are_lost_once(tmp_path: Path) -> None:
    with store(tmp_path) as logs:
        writer = logs.open("job")
        with full_disk(writer):
            writer.append(OUT, memoryview(b"lost"), 1)
            writer.append(OUT, memoryview(b" too"), 1)
        writer.append(OUT, memoryview(b"written"), 1)
        assert (logs.totals.written, logs.totals.lost) == (7, 8)


def test_bytes_that_are_lost_without_a_record_count_at_once(tmp_path: Path) -> None:
    errors: list[OSError] = []
    logs = LogStore(tmp_path, UNBOUNDED, UNBOUNDED, errors.append)
    writer = logs.open("job")
    with files_end_at(0):
        writer.append(OUT, memoryview(b"lost"), 1)
        assert (writer.unrecorded, logs.totals.lost) == (4, 4)
        logs.end("job")
    logs.close()
    assert (logs.totals.written, logs.totals.lost, len(errors)) == (0, 4, 1)


def test_resumed_logs_count_only_new_output(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    written(tmp_path / "job", (OUT, b"before"))
    with store(tmp_path) as logs:
        logs.resume("job").append(OUT, memoryview(b"after"), 2)
        assert logs.totals.written == 5
