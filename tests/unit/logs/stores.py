"""Log stores for tests, and the space that their files take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobworkerd.logs.ended import EndedLogs
from jobworkerd.logs.files import open_files
from jobworkerd.logs.format import data_file, index_file
from jobworkerd.logs.store import LogStore
from jobworkerd.model import OutputSource

OUT, ERR = OutputSource.STDOUT, OutputSource.STDERR
UNBOUNDED = 1 << 40
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
