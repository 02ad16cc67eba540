"""Queries for pages of records. Each follows an index in the order of the keys, newest first.

One filter selects the index. The others are checked per row. A page examines a bounded number of rows, so
that a filter that few jobs match cannot delay the server; the next page continues there.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from jobworkerd.job_id import key_at, key_of, key_range
from jobworkerd.model import JobStatus
from jobworkerd.protocol.messages import ListJobs

SCANNED_ROWS = 5_000
"""Rows to examine if the index has all columns for that."""

SCANNED_RECORDS = 1_000
"""Rows to examine if each one is read from the table, with a page of the disk per row."""

_LAST_KEY = 2**63 - 1


@dataclass
class _Condition:
    """Conditions in SQL, with their arguments."""

    terms: list[str] = field(default_factory=list)
    arguments: list[object] = field(default_factory=list)

    def add(self, term: str, *arguments: object) -> None:
        self.terms.append(term)
        self.arguments += arguments

    def __add__(self, other: "_Condition") -> "_Condition":
        return _Condition(self.terms + other.terms, self.arguments + other.arguments)


@dataclass
class _Source:
    """Rows in the order of an index.

    `checked` are the filters that the index does not follow. `covered` is true if it has their columns.
    """

    tables: str
    followed: _Condition
    checked: _Condition
    key: str = "job.key"
    covered: bool = False

    def select(self, columns: str, condition: _Condition) -> tuple[str, list[object]]:
        where = " AND ".join(condition.terms)
        # All texts are constants of this module; the values are arguments.
        return f"SELECT {self.key} AS key{columns} FROM {self.tables} WHERE {where}", condition.arguments  # noqa: S608


class PageQuery:
    """The queries for one page: `stop` finds the last row to examine, `rows` returns the matching rows."""

    def __init__(self, request: ListJobs, connection: sqlite3.Connection) -> None:
        """Use the connection only to examine steps of the clock."""
        self._request = request
        self._first, self._end = _keys(request, connection)

    def stop(self) -> tuple[str, list[object]] | None:
        """Return the query for the key of the last row to examine; None to examine all rows."""
        sources = self._sources()
        if not any(source.checked.terms for source in sources):
            return None
        sql, arguments = _union(sources, "", checked=False)
        covered = all(source.covered for source in sources)
        rows = SCANNED_ROWS if covered else min(SCANNED_ROWS, SCANNED_RECORDS)
        return f"{sql} LIMIT 1 OFFSET {rows - 1}", arguments

    def rows(self, stop_key: int, count: int) -> tuple[str, list[object]]:
        """Return the query for the keys, ids and records of matching rows, down to `stop_key`."""
        sql, arguments = _union(self._sources(stop_key), ", job.id, record", checked=True)
        return f"{sql} LIMIT {count}", arguments

    def _sources(self, stop_key: int = 0) -> list[_Source]:
        # One lower bound only: SQLite ends the scan at one of two bounds, which can be the lower one.
        keys = _Condition(["job.key >= ?", "job.key < ?"], [max(self._first, stop_key), self._end])
        return _sources(self._request, keys)


def _union(sources: Sequence[_Source], columns: str, *, checked: bool) -> tuple[str, list[object]]:
    selects: list[str] = []
    arguments: list[object] = []
    for source in sources:
        condition = source.followed + source.checked if checked else source.followed
        sql, values = source.select(columns, condition)
        selects.append(sql)
        arguments += values
    return f"{' UNION ALL '.join(selects)} ORDER BY key DESC", arguments


def _keys(request: ListJobs, connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the first key that can match, and the first one after it that cannot."""
    first, end = key_range(request.id_prefix) if request.id_prefix else (0, _LAST_KEY)
    if request.before:
        end = min(end, key_of(request.before))
    if request.created_after_ns is not None:
        first = max(first, key_at(request.created_after_ns))
    if request.created_before_ns is not None:
        end = min(end, _key_after(request.created_before_ns, connection))
    return first, end


def _key_after(time_ns: int, connection: sqlite3.Connection) -> int:
    """Return a key after all jobs that were created before a time.

    The key of a job is its creation time, or later if the clock was set back.
    """
    sql = "SELECT max(key) FROM job INDEXED BY job_clock_stepped WHERE clock_stepped AND create_time_ns < ?"
    (stepped,) = connection.execute(sql, (time_ns,)).fetchone()
    return max(key_at(time_ns), stepped or 0) + 1


def _sources(request: ListJobs, keys: _Condition) -> list[_Source]:
    if request.labels:
        return [_by_label(request, keys)]
    if request.owner and not _only_live(request):
        source = _Source(
            "job INDEXED BY job_owner", _Condition(["owner = ?"], [request.owner]) + keys, _others(request)
        )
        _check_statuses(request, source.checked)
        return [source]
    if request.statuses:
        return [
            _by_status(request, status, keys)
            for status in sorted(request.statuses, key=lambda each: each.value)
        ]
    checked = _others(request)
    return [_Source("job INDEXED BY job_command" if checked.terms else "job", keys, checked, covered=True)]


def _only_live(request: ListJobs) -> bool:
    return bool(request.statuses) and not any(status.final for status in request.statuses)


def _by_label(request: ListJobs, keys: _Condition) -> _Source:
    (name, value), *others = sorted(request.labels.items())
    followed = _Condition(["label.name = ?", "label.value = ?"], [name, value])
    followed += _Condition([term.replace("job.key", "label.key") for term in keys.terms], keys.arguments)
    checked = _others(request)
    for name, value in others:
        checked.add(_HAS_LABEL, name, value)
    if request.owner:
        checked.add("owner = ?", request.owner)
    _check_statuses(request, checked)
    return _Source("label CROSS JOIN job ON job.key = label.key", followed, checked, "label.key")


_HAS_LABEL = (
    "EXISTS (SELECT 1 FROM label AS other WHERE other.name = ? AND other.value = ? AND other.key = job.key)"
)


def _by_status(request: ListJobs, status: JobStatus, keys: _Condition) -> _Source:
    followed = _Condition(["status = ?"], [status.value]) + keys
    checked = _others(request)
    if request.owner:
        checked.add("owner = ?", request.owner)
    return _Source("job INDEXED BY job_status", followed, checked)


def _check_statuses(request: ListJobs, condition: _Condition) -> None:
    if request.statuses:
        marks = ", ".join("?" for _ in request.statuses)
        condition.add(f"status IN ({marks})", *(status.value for status in request.statuses))


def _others(request: ListJobs) -> _Condition:
    """Return the filters that no index covers. Most rows in the range of keys match the first three."""
    condition = _Condition()
    if request.id_prefix:
        condition.add("substr(id, 1, ?) = ?", len(request.id_prefix), request.id_prefix)
    if request.created_after_ns is not None:
        condition.add("create_time_ns >= ?", request.created_after_ns)
    if request.created_before_ns is not None:
        condition.add("create_time_ns < ?", request.created_before_ns)
    if request.command_contains:
        condition.add("instr(command, ?)", request.command_contains)
    return condition
