"""Reads pages of records, with the changes that are not committed yet."""

import heapq
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from jobworkerd.job_id import key_of
from jobworkerd.limit_bounds import MAX_LABELS
from jobworkerd.model import Job
from jobworkerd.protocol.job_filter import matches
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.records import encoding
from jobworkerd.records.database import disk_errors
from jobworkerd.records.paging import PageQuery
from jobworkerd.records.write_queue import WriteQueue
from jobworkerd.records.writes import Change, Save

_Changes = dict[object, Change]


class Page(NamedTuple):
    """A page of records, newest first. `next_before` is empty if no page follows."""

    jobs: tuple[Job, ...]
    next_before: str


def read_page(request: ListJobs, connection: sqlite3.Connection, queue: WriteQueue) -> Page:
    """Return a page for a request.

    Raises:
        OSError: the disk failed.
    """
    if len(request.labels) > MAX_LABELS:  # no job has as many, and SQLite would refuse the statement
        return Page((), "")
    changes = {change.target: change for change in queue.unsaved()}
    with disk_errors():
        query = PageQuery(request, connection)
        stop_key, stop_id = _stop(query, connection)
        rows = connection.execute(*query.rows(stop_key, request.page_size + 1 + len(changes)))
        jobs, more = _take(request, _matching(request, rows, stop_key, changes))
    return Page(jobs, jobs[-1].id if more else stop_id)


def _stop(query: PageQuery, connection: sqlite3.Connection) -> tuple[int, str]:
    """Return the key and the id of the last row to examine; 0 and an empty id to examine all rows."""
    sql = query.stop()
    row = connection.execute(*sql).fetchone() if sql else None
    if row is None:
        return 0, ""
    (stop_id,) = connection.execute("SELECT id FROM job WHERE key = ?", row).fetchone()
    return row[0], stop_id


def _take(request: ListJobs, matching: Iterator[tuple[Job, int]]) -> tuple[tuple[Job, ...], bool]:
    """Return the jobs of the page, and whether one more job matches."""
    jobs: list[Job] = []
    size = 0
    for job, length in matching:
        size += length
        if len(jobs) == request.page_size or (jobs and size > request.max_bytes):
            return tuple(jobs), True
        jobs.append(job)
    return tuple(jobs), False


def _matching(
    request: ListJobs, found: sqlite3.Cursor, stop_key: int, changes: _Changes
) -> Iterator[tuple[Job, int]]:
    """Return the matching jobs, newest first, with the sizes of their records."""
    rows = ((encoding.decode(record), len(record)) for _, job_id, record in found if job_id not in changes)
    if not changes:
        return rows
    unsaved = [
        (change.job, 0)
        for change in changes.values()
        if isinstance(change, Save) and key_of(change.job.id) >= stop_key and matches(request, change.job)
    ]
    newest_first = sorted(unsaved, key=_id_of, reverse=True)
    return heapq.merge(rows, newest_first, key=_id_of, reverse=True)


def _id_of(found: tuple[Job, int]) -> str:
    return found[0].id
