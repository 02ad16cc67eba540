"""The archive in an SQL database."""

import abc
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jobworker.v1 import job_pb2
from jobworker_gateway.archive import login_statements, statements
from jobworker_gateway.archive.login_statements import StoredSession
from jobworker_gateway.archive.paging import PageQuery
from jobworker_gateway.archive.statements import Statement
from jobworker_gateway.engine import ArchivedJob
from jobworkerd.errors import ClusterUnavailable
from jobworkerd.limit_bounds import MAX_LABELS
from jobworkerd.protocol.login_messages import CreateLogin, Login
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.startup import CannotStart


class DatabaseFailed(Exception):
    """Raised when the database does not answer, or did not execute a statement. `str()` is its message."""


class ArchivePage(NamedTuple):
    """A page of final jobs, newest first. `next_before` is empty if no page follows.

    All jobs of the archive that match and are not older than `next_before` are in the page.
    """

    jobs: tuple[job_pb2.Job, ...]
    next_before: str


Rows = Sequence[Sequence[object]]


class SqlArchive(abc.ABC):
    """The archive, whatever the database is.

    Each method raises ClusterUnavailable if the database does not answer.
    """

    position: str
    """The function of the database that finds a text in a text."""

    now_ms: str
    """The time of the database in milliseconds since the epoch, in SQL."""

    before_logins: Sequence[Statement] = ()
    """The statements that begin a transaction which adds a login."""

    async def open(self, types: statements.Types, *before: Statement) -> None:
        """Create missing tables, after the statements `before` in the same transaction.

        Raises:
            CannotStart: the tables are those of another version.
            DatabaseFailed: the tables cannot be created or read.
        """
        await self._commit((*before, *statements.schema(types), *login_statements.schema(types)))
        ((version,),) = await self._fetch(statements.find_version())
        if version != statements.VERSION:
            raise CannotStart(
                f"archive: its tables have version {version}, and this gateway needs {statements.VERSION}; "
                "use another archive, or a gateway of the release that created this one"
            )

    @abc.abstractmethod
    async def close(self) -> None:
        """Close the database. No call may be in progress."""

    async def add(self, final: ArchivedJob) -> job_pb2.Job:
        """Store a final job, unless the archive has one with this id.

        Return the job that the archive has then. A job that was deleted is not added again.
        """
        if await self._write(statements.add(final)):
            return final.job
        return await self.find(final.job.id) or final.job

    async def find(self, job_id: str) -> job_pb2.Job | None:
        """Return a final job; None if the archive has none with this id."""
        found = _jobs(await self._read(statements.find(job_id)))
        return found[0] if found else None

    async def is_deleted(self, job_id: str) -> bool:
        """Return whether a client has deleted a final job. The archive knows that for an hour."""
        return bool(await self._read(statements.find_deleted(job_id)))

    async def find_all(self, job_ids: Sequence[str]) -> tuple[job_pb2.Job, ...]:
        """Return those of at most 10,000 jobs that the archive has, newest first."""
        return _jobs(await self._read(statements.find_records(job_ids))) if job_ids else ()

    async def find_request(self, request_key: str) -> ArchivedJob | None:
        """Return the final job of a request; None if the archive has none with this key."""
        for record, request_hash in await self._read(statements.find_request(request_key)):
            assert isinstance(record, bytes)
            return ArchivedJob(job_pb2.Job.FromString(record), request_key, str(request_hash))
        return None

    async def page(self, request: ListJobs) -> ArchivePage:
        """Return a page of the jobs that match. It can be empty although another one follows."""
        if not _can_match(request):
            return ArchivePage((), "")
        query = PageQuery(request, self.position)
        stop = await self._read(query.stop) if query.stop else ()
        stop_id = str(stop[0][0]) if stop else ""
        found = [(str(job_id), int(str(size))) for job_id, size in await self._read(query.rows(stop_id))]
        ids = _fitting(found, request)
        next_before = ids[-1] if len(ids) < len(found) else stop_id
        return ArchivePage(await self.find_all(ids), next_before)

    async def delete(self, job_id: str) -> bool:
        """Delete a job. Return False if the archive has none with this id."""
        return bool(await self._write(statements.delete(job_id, time.time_ns())))

    async def add_login(self, token_hash: str, login: CreateLogin) -> None:
        """Store a one-time token, by its hash."""
        added = login_statements.add_login(token_hash, login, self.now_ms)
        await self._write((*self.before_logins, *added))

    async def take_login(self, token_hash: str) -> Login:
        """Remove a one-time token, and return the certificate of its client; empty if it is not valid.

        One of several concurrent calls gets it, whichever gateways make them.
        """
        removal = login_statements.take_login(token_hash, self.now_ms)
        for certificate, chain, is_valid in await self._read(removal):
            assert isinstance(certificate, bytes)
            assert isinstance(chain, bytes)
            return Login(certificate, chain) if is_valid else Login()
        return Login()

    async def add_session(self, token_hash: str, session: StoredSession) -> None:
        """Store a session, by the hash of its token."""
        added = login_statements.add_session(token_hash, session, time.time_ns() // 1_000_000)
        await self._write((*self.before_logins, *added))

    async def find_session(self, token_hash: str) -> bytes | None:
        """Return the content of a session; None if the archive has none with this hash.

        An expired session can still be there.
        """
        for (content,) in await self._read(login_statements.find_session(token_hash)):
            assert isinstance(content, bytes)
            return content
        return None

    async def _read(self, query: Statement) -> Rows:
        with _unavailable():
            return await self._fetch(query)

    async def _write(self, transaction: Sequence[Statement]) -> int:
        with _unavailable():
            return await self._commit(transaction)

    @abc.abstractmethod
    async def _fetch(self, query: Statement) -> Rows:
        """Return the rows of a query. If it changes rows, that is committed.

        Raises:
            DatabaseFailed: see the class.
        """

    @abc.abstractmethod
    async def _commit(self, transaction: Sequence[Statement]) -> int:
        """Execute a transaction, and return the number of rows that its first statement changed.

        If it changed none, the rest is left out.

        Raises:
            DatabaseFailed: see the class.
        """


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except DatabaseFailed as error:
        raise ClusterUnavailable(f"the archive failed: {error}") from error


def _can_match(request: ListJobs) -> bool:
    """Return False for filters that no job matches and that a database refuses: NUL, and many labels."""
    texts = (request.command_contains, *request.labels)
    return len(request.labels) <= MAX_LABELS and not any("\0" in text for text in texts)


def _jobs(rows: Rows) -> tuple[job_pb2.Job, ...]:
    jobs = []
    for (record,) in rows:
        assert isinstance(record, bytes)
        jobs.append(job_pb2.Job.FromString(record))
    return tuple(jobs)


def _fitting(found: Sequence[tuple[str, int]], request: ListJobs) -> list[str]:
    """Return the ids of the jobs that fit into a page, at least the first one."""
    ids: list[str] = []
    left = request.max_bytes
    for job_id, size in found[: request.page_size]:
        left -= size
        if ids and left < 0:
            break
        ids.append(job_id)
    return ids
