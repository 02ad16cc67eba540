"""A database in a temporary directory, and records for it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.job_id import JobIds
from jobworkerd.model import Job, JobStatus
from jobworkerd.records.store import Records
from sample_jobs import SPEC

SECOND = 10**9

MakeJob = Callable[..., Job]


@pytest.fixture
def faults() -> list[str]:
    """The faults that the records report."""
    return []


@pytest.fixture
async def records(tmp_path: Path, faults: list[str]) -> AsyncIterator[Records]:
    with opened(tmp_path, faults) as found:
        yield found


@contextmanager
def opened(directory: Path, faults: list[str] | None = None) -> Iterator[Records]:
    """Open the database of a directory. Faults are added to a list, or fail the test."""

    def on_fault(what: str, error: BaseException) -> None:
        if faults is None:
            pytest.fail(f"{what}: {error}")
        faults.append(f"{what}: {error}")

    found = Records(directory, on_fault)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def make_job() -> MakeJob:
    """Return a function that makes jobs in ascending order, one per second."""
    ids, seconds = JobIds(), iter(range(1_000_000))

    def make(status: JobStatus = JobStatus.COMPLETED, **spec: object) -> Job:
        created = (1_700_000_000 + next(seconds)) * SECOND
        return Job(
            id=ids.new(created),
            spec=replace(SPEC, **spec),
            status=status,
            create_time_ns=created,
            end_time_ns=created + SECOND if status.final else None,
        )

    return make
