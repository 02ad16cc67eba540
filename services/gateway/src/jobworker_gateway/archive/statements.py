"""The tables of the archive, and the statements that write it. A `?` stands for an argument."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from jobworker.v1 import job_pb2
from jobworker_gateway.engine import ArchivedJob

VERSION = 1
"""Version of the tables."""

_COMMAND_LENGTH = 1_024
"""Characters of the command line that lists search."""


_DELETED_NS = 3_600 * 10**9


@dataclass(frozen=True)
class Types:
    """The names of the types that the databases do not have in common.

    `number` is that of a primary key which the database counts up.
    """

    text: str
    binary: str
    number: str


@dataclass(frozen=True)
class Statement:
    """A statement in SQL and its arguments."""

    sql: str
    arguments: Sequence[object] = ()


def schema(types: Types) -> Sequence[Statement]:
    """Return the statements that create missing tables.

    The value of a label is binary, because it can contain NUL. The owner is indexed by a hash, because
    PostgreSQL indexes at most 2,704 bytes. The row of a deleted job has no record.
    """
    text, binary = types.text, types.binary
    tables = (
        "CREATE TABLE IF NOT EXISTS archive_version (version INTEGER PRIMARY KEY)",
        f"""CREATE TABLE IF NOT EXISTS job (
            id {text} PRIMARY KEY,
            owner_key {text} NOT NULL,
            status INTEGER NOT NULL,
            create_time_ns BIGINT NOT NULL,
            end_time_ns BIGINT NOT NULL,
            command {text} NOT NULL,
            request_key {text} NOT NULL,
            request_hash {text} NOT NULL,
            record {binary}
        )""",
        "CREATE INDEX IF NOT EXISTS job_owner ON job (owner_key, id)",
        "CREATE INDEX IF NOT EXISTS job_status ON job (status, id)",
        "CREATE INDEX IF NOT EXISTS job_deleted ON job (end_time_ns) WHERE record IS NULL",
        "CREATE INDEX IF NOT EXISTS job_request ON job (request_key) WHERE request_key <> ''",
        f"""CREATE TABLE IF NOT EXISTS label (
            name {text} NOT NULL,
            value {binary} NOT NULL,
            job_id {text} NOT NULL REFERENCES job (id) ON DELETE CASCADE,
            PRIMARY KEY (name, value, job_id)
        )""",
        "CREATE INDEX IF NOT EXISTS label_job ON label (job_id)",
    )
    insert = "INSERT INTO archive_version SELECT ? WHERE NOT EXISTS (SELECT 1 FROM archive_version)"
    return (*map(Statement, tables), Statement(insert, (VERSION,)))


def find_version() -> Statement:
    """Return the query for the version of the tables."""
    return Statement("SELECT version FROM archive_version")


def add(final: ArchivedJob) -> Sequence[Statement]:
    """Return the transaction that adds a job, unless its id has a row."""
    job = final.job
    row = (
        job.id,
        owner_key(job.owner),
        job.status,
        job.create_time.ToNanoseconds(),
        job.end_time.ToNanoseconds(),
        command_text(job),
        final.request_key,
        final.request_hash,
        job.SerializeToString(),
    )
    marks = ", ".join("?" for _ in row)
    # The marks are the only part that is not a constant.
    insert = Statement(f"INSERT INTO job VALUES ({marks}) ON CONFLICT DO NOTHING", row)  # noqa: S608
    if not job.labels:
        return (insert,)
    labels = [(name, value.encode(), job.id) for name, value in job.labels.items()]
    marks = ", ".join("(?, ?, ?)" for _ in labels)
    return insert, Statement(f"INSERT INTO label VALUES {marks}", [*chain(*labels)])  # noqa: S608


def find(job_id: str) -> Statement:
    """Return the query for the record of a job."""
    return Statement("SELECT record FROM job WHERE id = ? AND record IS NOT NULL", (job_id,))


def find_deleted(job_id: str) -> Statement:
    """Return the query for the row of a deleted job."""
    return Statement("SELECT id FROM job WHERE id = ? AND record IS NULL", (job_id,))


def find_request(request_key: str) -> Statement:
    """Return the query for the record and the hash of the job of a request."""
    sql = (
        "SELECT record, request_hash FROM job WHERE request_key = ? AND request_key <> '' ORDER BY id LIMIT 1"
    )
    return Statement(sql, (request_key,))


def find_records(ids: Sequence[str]) -> Statement:
    """Return the query for the records of jobs, newest first."""
    marks = ", ".join("?" for _ in ids)
    return Statement(
        f"SELECT record FROM job WHERE id IN ({marks}) AND record IS NOT NULL ORDER BY id DESC",  # noqa: S608
        ids,
    )


def delete(job_id: str, now_ns: int) -> Sequence[Statement]:
    """Return the transaction that deletes a job.

    The row stays for an hour without the record. Another gateway can still be about to add the job, and must
    not bring it back.
    """
    return (
        Statement(
            "UPDATE job SET record = NULL, owner_key = '', command = '', request_key = '', "
            "request_hash = '', end_time_ns = ? WHERE id = ? AND record IS NOT NULL",
            (now_ns, job_id),
        ),
        Statement("DELETE FROM label WHERE job_id = ?", (job_id,)),
        Statement("DELETE FROM job WHERE record IS NULL AND end_time_ns < ?", (now_ns - _DELETED_NS,)),
    )


def owner_key(owner: str) -> str:
    """Return the hash that identifies an owner."""
    return hashlib.sha256(owner.encode()).hexdigest()[:40]


def command_text(job: job_pb2.Job) -> str:
    """Return the begin of the command and its arguments, joined by spaces."""
    return " ".join((job.command, *job.args))[:_COMMAND_LENGTH]
