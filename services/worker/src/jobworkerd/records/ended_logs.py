"""The space of the logs of final jobs, in their records."""

import sqlite3

from jobworkerd.records.database import disk_errors
from jobworkerd.records.write_queue import WriteQueue
from jobworkerd.records.writes import SetStored

_SKIPPED = 1_000
"""Logs whose new space is not committed yet, because the disk refuses it."""


class RecordedLogs:
    """An `EndedLogs` that takes no memory per log."""

    def __init__(self, connection: sqlite3.Connection, queue: WriteQueue) -> None:
        self._connection = connection
        self._queue = queue

    @property
    def total(self) -> int:
        """The space of all ended logs in bytes, as far as it is committed.

        Raises:
            OSError: the disk failed.
        """
        with disk_errors():
            (total,) = self._connection.execute("SELECT stored_bytes FROM total").fetchone()
        return int(total)

    def oldest(self) -> tuple[str, int] | None:
        """Return the job that ended first among those whose log takes space, and that space.

        Raises:
            OSError: the disk failed.
        """
        sql = (
            "SELECT id, stored_bytes FROM job INDEXED BY job_stored "
            "WHERE end_time_ns IS NOT NULL AND stored_bytes > 0 ORDER BY end_time_ns LIMIT ?"
        )
        with disk_errors():
            for job_id, stored in self._connection.execute(sql, (_SKIPPED,)):
                if left := self._unsaved(job_id, stored):
                    return job_id, left
        return None

    def set_stored(self, job_id: str, stored_bytes: int) -> None:
        """Store the space of a log that has ended."""
        self._queue.add_lazily(SetStored(job_id, stored_bytes))

    def _unsaved(self, job_id: str, stored: int) -> int:
        change = self._queue.find((SetStored, job_id))
        return change.stored_bytes if isinstance(change, SetStored) else stored
