"""The records of all jobs: reads and writes of the supervisor."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jobworkerd.job_id import key_of
from jobworkerd.model import Job, JobSpec, JobStatus
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records import encoding
from jobworkerd.records.checkpoint import Checkpointer
from jobworkerd.records.database import FILE_NAME, disk_errors, open_database
from jobworkerd.records.ended_logs import RecordedLogs
from jobworkerd.records.job_cache import JobCache
from jobworkerd.records.pages import Page, read_page
from jobworkerd.records.request_hashes import RequestHashes
from jobworkerd.records.sealing import Sealer
from jobworkerd.records.session_key import SessionKey
from jobworkerd.records.state_key import StateKey
from jobworkerd.records.write_queue import WriteQueue
from jobworkerd.records.writes import Delete, Save, SetMeta

_LAST_TIME_NS = 2**63 - 1
_LIVE = (JobStatus.INITIALIZING.value, JobStatus.RUNNING.value)


class FirstRequest(NamedTuple):
    """The job that a request id started, and the hash of that request."""

    job_id: str
    request_hash: bytes


class Records:
    """The owner of the database. All methods run in the event loop, and none of them waits for the disk
    except for a read.

    Changes that are not committed yet are part of each result.
    """

    def __init__(
        self,
        state_dir: Path,
        on_fault: Callable[[str, BaseException], None],
        on_recovery: Callable[[], None] = lambda: None,
        *,
        full_sync: bool = False,
    ) -> None:
        """Open the database. With `full_sync`, commits survive a loss of power.

        `on_fault` is called once when the disk fails, and `on_recovery` when it works again.

        Raises:
            CannotStart: the file cannot be used, is damaged or of a newer version, or the host is exhausted.
        """
        self._on_recovery = on_recovery
        self._on_fault = on_fault
        self._full_sync = full_sync
        self._connection = open_database(state_dir)
        try:
            self._checkpointer = Checkpointer(state_dir / FILE_NAME, partial(on_fault, "checkpoint"))
        except BaseException:
            self._connection.close()
            raise
        self._queue = WriteQueue(
            self._connection,
            self._checkpointer.committed,
            self._disk_changed,
            partial(on_fault, "rejected record"),
        )
        self._cache = JobCache()
        state_key = StateKey(state_dir)
        self.sealer = Sealer(state_key)
        self.request_hashes = RequestHashes(state_key)
        self.session_key = SessionKey(state_key)
        self.ended_logs = RecordedLogs(self._connection, self._queue)

    def close(self) -> None:
        """Commit all changes, and close the database."""
        self._queue.close()
        self._checkpointer.close()
        self._connection.close()

    def _disk_changed(self, error: OSError | None) -> None:
        if error:
            self._on_fault("records", error)
        else:
            self._on_recovery()

    @property
    def failing(self) -> bool:
        """Whether the disk refused the last change."""
        return self._queue.error is not None

    async def insert(self, job: Job, request_hash: bytes = b"", sealed_env: bytes | None = None) -> None:
        """Insert the record of a new job and return when it is committed.

        Raises:
            OSError: the disk refused the record, which does not exist then.
        """
        await self._queue.add(Save(job, request_hash or None, sealed_env), keep=False)
        await self._sync()

    async def replace(self, job: Job, sealed_env: bytes | None = None) -> None:
        """Replace the record of a job and return when it is committed.

        Raises:
            OSError: the disk refused the record, and the former one remains.
        """
        await self._queue.add(Save(job, None, sealed_env), keep=False)
        await self._sync()

    async def update(self, job: Job, sealed_env: bytes | None = None) -> None:
        """Replace the record of a job and return when it is committed.

        If the disk refuses the record, the method returns after the first attempt; see `update_later`.
        """
        change = Save(job, None, sealed_env)
        self._remember(change.job)
        await self._queue.add(change, keep=True)
        try:
            await self._sync()
        except OSError as error:
            self._on_fault("records", error)

    def update_later(self, job: Job, sealed_env: bytes | None = None) -> None:
        """Replace the record of a job in the next loop iteration. Repeat this until the disk accepts it."""
        self._queue.add(Save(job, None, sealed_env), keep=True)

    def is_stored(self, job_id: str) -> bool:
        """Return whether all changes of a job's record are committed."""
        return self._queue.find(job_id) is None

    async def delete(self, *job_ids: str) -> None:
        """Delete records and return when this is committed.

        Raises:
            OSError: the disk refused the change, and the records remain.
        """
        self._queue.flush()
        # A deletion must not replace a change that the disk still refuses.
        if self._queue.error and any(self._queue.find(job_id) for job_id in job_ids):
            raise self._queue.error
        changes = [self._queue.add(Delete(job_id), keep=False) for job_id in job_ids]
        await asyncio.gather(*changes)
        for job_id in job_ids:
            self._cache.remove(job_id)
        await self._sync()

    def delete_later(self, job_id: str) -> None:
        """Delete the record of a job that did not start. It is repeated until the disk accepts it."""
        self._queue.add_lazily(Delete(job_id))

    async def _sync(self) -> None:
        if self._full_sync:
            await self._checkpointer.sync()

    def get(self, job_id: str) -> Job | None:
        """Return the record of a job; None if it does not exist.

        Raises:
            OSError: the disk failed.
        """
        if change := self._queue.find(job_id):
            return change.job if isinstance(change, Save) else None
        if job := self._cache.get(job_id):
            return job
        row = self._row("SELECT record FROM job WHERE key = ? AND id = ?", key_of(job_id), job_id)
        if row is None:
            return None
        job = encoding.decode(row[0])
        self._remember(job)
        return job

    def _remember(self, job: Job) -> None:
        if job.status.final:
            self._cache.add(job)

    def first_request(self, spec: JobSpec) -> FirstRequest | None:
        """Return what the request id of a request was first used for.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        sql = "SELECT id, request_hash FROM job WHERE owner = ? AND request_id = ?"
        row = self._row(sql, spec.owner, spec.request_id)
        return FirstRequest(*row) if row else None

    def page(self, request: ListJobs) -> Page:
        """Return a page for a request. It has at least one job, even if the job exceeds `max_bytes`.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        return read_page(request, self._connection, self._queue)

    def unfinished(self) -> list[Job]:
        """Return the records of jobs that are not final, oldest first.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        sql = "SELECT record FROM job INDEXED BY job_status WHERE status IN (?, ?) ORDER BY key"
        with disk_errors():
            rows = self._connection.execute(sql, _LIVE).fetchall()
        return [encoding.decode(record) for (record,) in rows]

    def queued(self) -> Iterator[Job]:
        """Yield the records of queued jobs one by one, oldest first. All of them can exceed the memory.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        sql = "SELECT record FROM job INDEXED BY job_status WHERE status = ? ORDER BY key"
        with disk_errors():
            for (record,) in self._connection.execute(sql, (JobStatus.QUEUED.value,)):
                yield encoding.decode(record)

    def final_jobs(self) -> int:
        """Return the number of final jobs.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        return int(self._row("SELECT final_jobs FROM total")[0])

    def oldest_final(self, count: int, *, ended_before_ns: int | None = None) -> list[str]:
        """Return the ids of the final jobs that ended first.

        Raises:
            OSError: the disk failed.
        """
        sql = (
            "SELECT id FROM job INDEXED BY job_end "
            "WHERE end_time_ns IS NOT NULL AND end_time_ns < ? ORDER BY end_time_ns LIMIT ?"
        )
        bound = _LAST_TIME_NS if ended_before_ns is None else ended_before_ns
        with disk_errors():
            return [job_id for (job_id,) in self._connection.execute(sql, (bound, count))]

    def has(self, job_id: str) -> bool:
        """Return whether a job has a record.

        Raises:
            OSError: the disk failed.
        """
        return self._row("SELECT 1 FROM job WHERE key = ? AND id = ?", key_of(job_id), job_id) is not None

    def id_at(self, key: int) -> str:
        """Return the id of the job with a key; empty without one.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        row = self._row("SELECT id FROM job WHERE key = ?", key)
        return row[0] if row else ""

    def newest_key(self) -> int:
        """Return the key of the newest job id; 0 without a record.

        Raises:
            OSError: the disk failed.
        """
        return self._row("SELECT max(key) FROM job")[0] or 0

    def sealed_env(self, job_id: str) -> bytes | None:
        """Return the sealed environment of a queued job; None if the record has none.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        row = self._row("SELECT sealed_env FROM job WHERE key = ?", key_of(job_id))
        return row[0] if row else None

    def meta(self, name: str) -> str:
        """Return a value of the server itself; empty if it was not set.

        Raises:
            OSError: the disk failed.
        """
        self._flush()
        row = self._row("SELECT value FROM meta WHERE name = ?", name)
        return row[0] if row else ""

    def set_meta(self, name: str, value: str) -> None:
        """Store a value of the server itself."""
        self._queue.add_lazily(SetMeta(name, value))

    async def store_meta(self, name: str, value: str) -> None:
        """Store a value of the server itself, and return after the first attempt."""
        await self._queue.add(SetMeta(name, value), keep=True)

    def _flush(self) -> None:
        """Commit pending changes before a read. While the disk fails, the timer retries them."""
        if not self._queue.error:
            self._queue.flush()

    def _row(self, sql: str, *arguments: object) -> Any:  # noqa: ANN401 - the row has the types of its columns
        with disk_errors():
            return self._connection.execute(sql, arguments).fetchone()
