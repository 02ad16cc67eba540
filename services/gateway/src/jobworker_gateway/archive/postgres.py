"""The archive that several gateways share, in PostgreSQL."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobworker_gateway.archive import postgres_address
from jobworker_gateway.archive.sql_archive import DatabaseFailed, Rows, SqlArchive
from jobworker_gateway.archive.statements import Statement, Types
from jobworkerd.startup import CannotStart

_TYPES = Types(
    text='TEXT COLLATE "C"', binary="BYTEA", number="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
)
"""Ids are compared byte by byte, as in SQLite."""

_CONNECTIONS = 8
_WAIT_SECONDS = 5.0
_PARAMETERS: Mapping[str, str | int] = MappingProxyType(
    {
        "options": "-c statement_timeout=10000",
        "connect_timeout": 5,
        # The host of the database can disappear without an answer. The defaults of Linux notice that after
        # two hours, and all calls would wait as long.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
)
"""Parameters that apply unless the address has them."""

_LOCK = Statement("SELECT pg_advisory_xact_lock(?)", (0x6A6F_6277,))
"""Two gateways that create the tables at the same time would fail without it."""

_LOGIN_LOCK = Statement("SELECT pg_advisory_xact_lock(?)", (0x6A6F_6C67,))
"""Two gateways that remove several rows, each in its own order, would wait for each other without it."""

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


class PostgresArchive(SqlArchive):
    """An archive in a database. It reconnects when the database returns."""

    position = "strpos"
    now_ms = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    before_logins = (_LOGIN_LOCK,)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def connect(cls, dsn: str) -> Self:
        """Open the archive in a database, which has to exist.

        Raises:
            CannotStart: the address is wrong, the database cannot be reached, or the user may not use it.
        """
        given = postgres_address.parameters(dsn)
        pool: Pool = AsyncConnectionPool(
            dsn,
            kwargs={name: value for name, value in _PARAMETERS.items() if name not in given},
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=_WAIT_SECONDS,
            # The delays of the pool grow up to minutes. After this time, the next call tries at once.
            reconnect_timeout=_WAIT_SECONDS,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=_WAIT_SECONDS)
            archive = cls(pool)
            await archive.open(_TYPES, _LOCK)
        except (DatabaseFailed, PoolTimeout, psycopg.Error) as error:
            await pool.close()
            raise CannotStart(
                f"archive: the database cannot be used: {_first_line(error)}; check its address"
            ) from error
        except CannotStart:
            await pool.close()
            raise
        return archive

    async def close(self) -> None:
        await self._pool.close()

    async def _fetch(self, query: Statement) -> Rows:
        try:
            async with self._pool.connection() as connection:
                return await (await _execute(connection, query)).fetchall()
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseFailed(_first_line(error)) from error

    async def _commit(self, transaction: Sequence[Statement]) -> int:
        try:
            async with self._pool.connection() as connection:
                first, *others = transaction
                count = (await _execute(connection, first)).rowcount
                for each in others if count else ():
                    await _execute(connection, each)
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseFailed(_first_line(error)) from error
        return count


async def _execute(connection: Connection, statement: Statement) -> psycopg.AsyncCursor[TupleRow]:
    # As bytes, because psycopg accepts only literals as a text.
    sql = statement.sql.replace("?", "%s").encode()
    return await connection.execute(sql, tuple(statement.arguments))


def _first_line(error: Exception) -> str:
    # A message of the database can have several lines, with details for the administrator of the database.
    return str(error).strip().partition("\n")[0] or type(error).__name__
