"""The schema of the database, as a list of migrations.

A released migration never changes. A new version of the schema is one more entry. `tests/unit/records/data`
has a database of each version.
"""

_VERSION_1 = (
    # `key` is the time in the job's id, so that the order of keys is the order of ids (see `job_id.key_of`).
    # An index of such a table ends with the key: each filter returns its jobs in order, without a sort.
    """
    CREATE TABLE job (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        status TEXT NOT NULL,
        owner TEXT NOT NULL,
        create_time_ns INTEGER NOT NULL,
        end_time_ns INTEGER,
        clock_stepped INTEGER NOT NULL,
        request_id TEXT,
        request_hash BLOB,
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        command TEXT NOT NULL,
        record BLOB NOT NULL,
        sealed_env BLOB
    )
    """,
    "CREATE INDEX job_status ON job (status)",
    "CREATE INDEX job_owner ON job (owner)",
    # A scan for a text in the command reads this index only, and not the records.
    "CREATE INDEX job_command ON job (key, create_time_ns, command)",
    "CREATE INDEX job_clock_stepped ON job (create_time_ns) WHERE clock_stepped",
    "CREATE INDEX job_end ON job (end_time_ns) WHERE end_time_ns IS NOT NULL",
    "CREATE INDEX job_stored ON job (end_time_ns) WHERE end_time_ns IS NOT NULL AND stored_bytes > 0",
    "CREATE UNIQUE INDEX job_request ON job (owner, request_id) WHERE request_id IS NOT NULL",
    """
    CREATE TABLE label (
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        key INTEGER NOT NULL,
        PRIMARY KEY (name, value, key)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX label_key ON label (key)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Counting a million rows takes too long at a start, so triggers keep the totals.
    "CREATE TABLE total (final_jobs INTEGER NOT NULL, stored_bytes INTEGER NOT NULL)",
    "INSERT INTO total VALUES (0, 0)",
    """
    CREATE TRIGGER job_inserted AFTER INSERT ON job
    WHEN new.end_time_ns IS NOT NULL OR new.stored_bytes > 0 BEGIN
        UPDATE total SET
            final_jobs = final_jobs + (new.end_time_ns IS NOT NULL),
            stored_bytes = stored_bytes + new.stored_bytes;
    END
    """,
    """
    CREATE TRIGGER job_ended AFTER UPDATE OF end_time_ns ON job
    WHEN (new.end_time_ns IS NULL) <> (old.end_time_ns IS NULL) BEGIN
        UPDATE total SET final_jobs = final_jobs + (old.end_time_ns IS NULL) - (new.end_time_ns IS NULL);
    END
    """,
    """
    CREATE TRIGGER job_stored AFTER UPDATE OF stored_bytes ON job BEGIN
        UPDATE total SET stored_bytes = stored_bytes + new.stored_bytes - old.stored_bytes;
    END
    """,
    """
    CREATE TRIGGER job_deleted AFTER DELETE ON job BEGIN
        DELETE FROM label WHERE key = old.key;
        UPDATE total SET
            final_jobs = final_jobs - (old.end_time_ns IS NOT NULL),
            stored_bytes = stored_bytes - old.stored_bytes;
    END
    """,
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1,)
"""The statements that lead from each version to the next one; the first entry creates version 1."""

VERSION = len(MIGRATIONS)
"""The version of the schema that this program reads and writes."""
