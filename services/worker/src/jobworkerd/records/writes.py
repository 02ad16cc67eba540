"""The changes of the database, one class per kind of change."""

import sqlite3
from dataclasses import dataclass
from typing import Protocol

from jobworkerd.job_id import key_at, key_of
from jobworkerd.model import Job, without_env
from jobworkerd.protocol.job_filter import command_text
from jobworkerd.records import encoding

_SAVE = """
    INSERT INTO job (
        key, id, status, owner, create_time_ns, end_time_ns, clock_stepped, request_id, request_hash, command,
        record, sealed_env
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
        status = excluded.status, end_time_ns = excluded.end_time_ns, record = excluded.record,
        sealed_env = excluded.sealed_env
"""


class Change(Protocol):
    """A change that can be executed."""

    @property
    def target(self) -> object:
        """The key of the change: a later change with the same target replaces it."""

    def merged(self, earlier: "Change") -> "Change":
        """Return this change with the parts of an earlier one that it keeps."""

    def execute(self, connection: sqlite3.Connection) -> None:
        """Execute the change in the current transaction."""


@dataclass
class Save:
    """Inserts the record of a job without its environment, or replaces it and keeps its request hash."""

    job: Job
    request_hash: bytes | None = None
    sealed_env: bytes | None = None

    def __post_init__(self) -> None:
        """Remove the environment already here: reads find changes that are not committed."""
        self.job = without_env(self.job)

    @property
    def target(self) -> object:
        """The record of the job."""
        return self.job.id

    def merged(self, earlier: Change) -> Change:
        """Keep the request hash, which only the insertion has."""
        if isinstance(earlier, Save):
            self.request_hash = self.request_hash or earlier.request_hash
        return self

    def execute(self, connection: sqlite3.Connection) -> None:
        """Execute the change in the current transaction."""
        job, spec, key = self.job, self.job.spec, key_of(self.job.id)
        row = (
            *(key, job.id, job.status.value, spec.owner, job.create_time_ns, job.end_time_ns),
            *(key != key_at(job.create_time_ns), spec.request_id or None, self.request_hash),
            *(command_text(spec), encoding.encode(job), self.sealed_env),
        )
        connection.execute(_SAVE, row)
        labels = [(name, value, key) for name, value in spec.labels.items()]
        if labels:
            connection.executemany("INSERT OR IGNORE INTO label VALUES (?, ?, ?)", labels)


@dataclass
class Delete:
    """Deletes the record of a job."""

    job_id: str

    @property
    def target(self) -> object:
        """The record of the job."""
        return self.job_id

    def merged(self, earlier: Change) -> Change:  # noqa: ARG002 - as in `Change`
        """Keep nothing."""
        return self

    def execute(self, connection: sqlite3.Connection) -> None:
        """Execute the change in the current transaction."""
        connection.execute("DELETE FROM job WHERE key = ?", (key_of(self.job_id),))


@dataclass
class SetStored:
    """Stores the space of a job's log."""

    job_id: str
    stored_bytes: int

    @property
    def target(self) -> object:
        """The space of the job's log."""
        return (SetStored, self.job_id)

    def merged(self, earlier: Change) -> Change:  # noqa: ARG002 - as in `Change`
        """Keep nothing."""
        return self

    def execute(self, connection: sqlite3.Connection) -> None:
        """Execute the change in the current transaction."""
        connection.execute(
            "UPDATE job SET stored_bytes = ? WHERE key = ?", (self.stored_bytes, key_of(self.job_id))
        )


@dataclass
class SetMeta:
    """Stores a value of the server itself."""

    name: str
    value: str

    @property
    def target(self) -> object:
        """The value of this name."""
        return (SetMeta, self.name)

    def merged(self, earlier: Change) -> Change:  # noqa: ARG002 - as in `Change`
        """Keep nothing."""
        return self

    def execute(self, connection: sqlite3.Connection) -> None:
        """Execute the change in the current transaction."""
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (self.name, self.value))
