"""The space of ended logs. The log store itself keeps nothing in memory per ended log."""

from typing import Protocol


class EndedLogs(Protocol):
    """Stores how much space each ended log takes, for example in the records of the jobs."""

    @property
    def total(self) -> int:
        """The space of all ended logs in bytes. The log store reads it once, at its start."""

    def oldest(self) -> tuple[str, int] | None:
        """Return the job that ended first among those whose log takes space, and that space.

        The result considers all values that were set, even if they are not on the disk yet.
        """

    def set_stored(self, job_id: str, stored_bytes: int) -> None:
        """Store the space of a log that has ended; 0 if it was removed or all of it was trimmed."""


class EndedLogsInMemory:
    """The space of the logs that ended during the life of this process."""

    def __init__(self) -> None:
        self._stored: dict[str, int] = {}

    @property
    def total(self) -> int:
        """Implement EndedLogs."""
        return sum(self._stored.values())

    def oldest(self) -> tuple[str, int] | None:
        """Implement EndedLogs."""
        return next(iter(self._stored.items()), None)

    def set_stored(self, job_id: str, stored_bytes: int) -> None:
        """Implement EndedLogs."""
        if stored_bytes:
            self._stored[job_id] = stored_bytes
        else:
            self._stored.pop(job_id, None)
