"""Each change of a job's record gets a number, so that watchers can see it."""

from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobworkerd.config import RetentionConfig
from jobworkerd.errors import CommandNotStarted
from jobworkerd.model import LimitsUpdate
from jobworkerd.protocol.change_log import RemovalReason
from jobworkerd.protocol.messages import DeleteJob, UpdateJob
from tests.unit.supervisor.job_table import (
    CONFIG,
    ONE_JOB,
    Server,
    command,
    create,
    occupy,
    running_table,
    stop,
    until,
)


class Changes:
    """The states of jobs at their changes, as a watcher that reads at once sees them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._states: list[tuple[str, str]] = []
        server.jobs.changes.listen(self._read)

    def _read(self) -> None:
        log = self._server.jobs.changes.log
        (newest,) = log.since(log.revision - 1, 1)
        removal = newest.removal
        status = removal.value if removal else self._server.jobs.get(newest.job_id).status.value
        self._states.append((newest.job_id, status))

    def of(self, job_id: str) -> list[str]:
        """Return the states of a job, without repetitions."""
        return [status for status, _ in groupby(state for each, state in self._states if each == job_id)]

    @property
    def job_ids(self) -> set[str]:
        return {job_id for job_id, _ in self._states}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running_table(tmp_path, ONE_JOB) as started:
        yield started


async def test_a_job_from_its_creation_to_its_deletion(server: Server) -> None:
    changes = Changes(server)
    job = await server.run("true")
    await server.jobs.delete(DeleteJob(job.id, "CN=bob"))
    assert changes.of(job.id) == ["initializing", "running", "completed", "deleted"]
    state, removal = server.jobs.changes.log.since(0, 10)
    assert (state.job, removal.job) == (job, job)


async def test_a_queued_job(server: Server) -> None:
    changes = Changes(server)
    first = await occupy(server)
    second, third = await create(server, "true"), await create(server, "true")
    await stop(server, third)
    await stop(server, first)
    await server.ended(second.id)
    assert changes.of(second.id) == ["queued", "initializing", "running", "completed"]
    assert changes.of(third.id) == ["queued", "stopped"]


async def test_a_failed_start(server: Server) -> None:
    changes = Changes(server)
    with pytest.raises(CommandNotStarted):
        await server.jobs.start(command("/nonexistent"))
    (job_id,) = changes.job_ids
    assert changes.of(job_id) == ["initializing", "not_started"]


async def test_new_limits(server: Server) -> None:
    job = await occupy(server)
    revision = server.jobs.changes.log.revision
    server.jobs.update(UpdateJob(job.id, "CN=bob", LimitsUpdate(max_cpu=50)))
    (change,) = server.jobs.changes.log.since(revision, 10)
    assert (change.job_id, change.removal) == (job.id, None)


async def test_a_job_beyond_the_retention(tmp_path: Path) -> None:
    config = replace(CONFIG, retention=RetentionConfig(max_jobs=1))
    async with running_table(tmp_path, config) as server:
        first = await server.run("true")
        await server.run("true")
        log = server.jobs.changes.log
        await until(lambda: any(each.removal is RemovalReason.FORGOTTEN for each in log.since(0, 100)))
        (removal,) = [each for each in log.since(0, 100) if each.removal]
        assert (removal.job_id, removal.job) == (first.id, first)
