"""The queries for a page of the archive, newest first.

One filter selects the index, and the others are checked per row. A page examines a bounded number of rows, so
that a filter that few jobs match cannot keep the database busy. The next page continues there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from jobworker_gateway.archive.statements import Statement, owner_key
from jobworkerd.model import JobStatus
from jobworkerd.protocol.messages import ListJobs
from jobworkerd.rpc_server.convert import STATUSES

SCANNED_ROWS = 5_000
"""Rows that a page examines at most, if a filter has no index."""

_AFTER_HEX = "g"
"""Greater than each character of an id."""

_NUMBERS: Mapping[JobStatus, int] = MappingProxyType({status: number for number, status in STATUSES.items()})


@dataclass
class _Conditions:
    """Conditions in SQL with their arguments."""

    terms: list[str] = field(default_factory=list)
    arguments: list[object] = field(default_factory=list)

    def add(self, term: str, *arguments: object) -> None:
        self.terms.append(term)
        self.arguments += arguments


class PageQuery:
    """The queries for one page: `stop` finds the last row to examine, and `rows` the matching rows."""

    def __init__(self, request: ListJobs, position: str) -> None:
        """`position` is the function of the database that finds a text in a text."""
        self._request = request
        self._followed, self._checked = _Conditions(), _Conditions()
        self._table, self._id = "job", "job.id"
        self._add_filters(position)
        self._add_range()

    @property
    def stop(self) -> Statement | None:
        """The query for the id of the last row to examine; None if each row in the range matches."""
        if not self._checked.terms:
            return None
        sql = f"SELECT {self._id} {self._from(self._followed.terms)} LIMIT 1 OFFSET {SCANNED_ROWS - 1}"
        return Statement(sql, tuple(self._followed.arguments))

    def rows(self, stop_id: str) -> Statement:
        """Return the query for the ids and the sizes of matching rows, down to an id."""
        terms = [*self._followed.terms, *self._checked.terms, f"{self._id} >= ?"]
        columns = f"SELECT {self._id}, length(job.record)"
        sql = f"{columns} {self._from(terms)} LIMIT {self._request.page_size + 1}"
        return Statement(sql, (*self._followed.arguments, *self._checked.arguments, stop_id))

    def _from(self, terms: list[str]) -> str:
        # All texts are constants of this module; the values are arguments.
        where = f"WHERE {' AND '.join(terms)} " if terms else ""
        return f"FROM {self._table} {where}ORDER BY {self._id} DESC"

    def _add_filters(self, position: str) -> None:
        """Add the filters. The first one that has an index is followed, and the others are checked."""
        request = self._request
        labels = sorted((name, value.encode()) for name, value in request.labels.items())
        if labels:
            self._table, self._id = "label JOIN job ON job.id = label.job_id", "label.job_id"
            self._followed.add("label.name = ? AND label.value = ?", *labels[0])
        for label in labels[1:]:
            self._checked.add(_HAS_LABEL, *label)
        if request.owner:
            owner = self._checked if labels else self._followed
            owner.add("job.owner_key = ?", owner_key(request.owner))
        if request.statuses:
            numbers = sorted(_NUMBERS[status] for status in request.statuses)
            has_index = len(numbers) == 1 and not (labels or request.owner)
            marks = ", ".join("?" for _ in numbers)
            (self._followed if has_index else self._checked).add(f"job.status IN ({marks})", *numbers)
        if request.created_after_ns is not None:
            self._checked.add("job.create_time_ns >= ?", request.created_after_ns)
        if request.created_before_ns is not None:
            self._checked.add("job.create_time_ns < ?", request.created_before_ns)
        if request.command_contains:
            self._checked.add(f"{position}(job.command, ?) > 0", request.command_contains)

    def _add_range(self) -> None:
        """Bound the ids, which contain the time of creation, and skip deleted jobs."""
        request = self._request
        self._followed.add("job.record IS NOT NULL")
        if request.before:
            self._followed.add(f"{self._id} < ?", request.before)
        if request.id_prefix:
            self._followed.add(f"{self._id} >= ?", request.id_prefix)
            self._followed.add(f"{self._id} < ?", request.id_prefix + _AFTER_HEX)
        if request.created_after_ns is not None:
            self._followed.add(f"{self._id} >= ?", _first_id(request.created_after_ns))
        if request.created_before_ns is not None:
            self._followed.add(f"{self._id} < ?", _first_id(request.created_before_ns) + _AFTER_HEX)


_HAS_LABEL = (
    "EXISTS (SELECT 1 FROM label AS other WHERE other.name = ? AND other.value = ? AND other.job_id = job.id)"
)


def _first_id(time_ns: int) -> str:
    """Return the begin of the ids that are created in the millisecond of a time."""
    milliseconds = min(time_ns // 1_000_000, 2**48 - 1)
    return f"{milliseconds:012x}"[:8] + "-" + f"{milliseconds:012x}"[8:]
