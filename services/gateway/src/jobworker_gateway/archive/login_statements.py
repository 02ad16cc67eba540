"""The tables of logins in the archive, and the statements that use them. A `?` stands for an argument.

A row has the hash of a token, so that a reader of the database cannot use the token. One-time tokens are
short-lived, and the clocks of gateways can differ, so they expire by the clock of the database.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobworker_gateway.archive.statements import Statement, Types, owner_key
from jobworkerd import one_time_token
from jobworkerd.protocol.login_messages import CreateLogin

MAX_SESSIONS_PER_USER = 100
MAX_SESSIONS = 5_000
"""Sessions of one delegate, for one user and for all. A new one beyond a bound replaces the oldest. The
bounds are above those of the dashboard, which does not tell the server when it ends a session."""


class StoredSession(NamedTuple):
    """A session. It has the subjects of the delegate and of the user, and ends at a time since the epoch."""

    delegate: str
    user: str
    content: bytes
    expire_ms: int


def schema(types: Types) -> Sequence[Statement]:
    """Return the statements that create missing tables. A gateway of an earlier release ignores them."""
    text, binary = types.text, types.binary
    tables = (
        f"""CREATE TABLE IF NOT EXISTS login_token (
            number {types.number},
            token_hash {text} NOT NULL UNIQUE,
            user_key {text} NOT NULL,
            certificate {binary} NOT NULL,
            chain {binary} NOT NULL,
            expire_ms BIGINT NOT NULL
        )""",
        f"""CREATE TABLE IF NOT EXISTS user_session (
            number {types.number},
            token_hash {text} NOT NULL UNIQUE,
            delegate_key {text} NOT NULL,
            user_key {text} NOT NULL,
            content {binary} NOT NULL,
            expire_ms BIGINT NOT NULL
        )""",
        "CREATE INDEX IF NOT EXISTS user_session_user ON user_session (delegate_key, user_key, number)",
    )
    return tuple(map(Statement, tables))


def add_login(token_hash: str, login: CreateLogin, now_ms: str) -> Sequence[Statement]:
    """Return the transaction that adds a one-time token. `now_ms` is the clock of the database, in SQL."""
    user = {"user_key": owner_key(login.subject)}
    milliseconds = int(one_time_token.SECONDS * 1_000)
    return (
        Statement(
            "INSERT INTO login_token (token_hash, user_key, certificate, chain, expire_ms) "  # noqa: S608 - constants
            f"VALUES (?, ?, ?, ?, {now_ms} + ?)",
            (token_hash, *user.values(), login.certificate, login.chain, milliseconds),
        ),
        Statement(f"DELETE FROM login_token WHERE expire_ms <= {now_ms}"),  # noqa: S608
        _keep_newest("login_token", one_time_token.MAX_PER_SUBJECT, user),
        _keep_newest("login_token", one_time_token.MAX_TOKENS, {}),
    )


def take_login(token_hash: str, now_ms: str) -> Statement:
    """Return the statement that removes a one-time token, and that returns what it has and if it is valid."""
    columns = f"certificate, chain, expire_ms > {now_ms}"
    return Statement(f"DELETE FROM login_token WHERE token_hash = ? RETURNING {columns}", (token_hash,))  # noqa: S608


def add_session(token_hash: str, session: StoredSession, now_ms: int) -> Sequence[Statement]:
    """Return the transaction that adds a session."""
    delegate = {"delegate_key": owner_key(session.delegate)}
    user = {**delegate, "user_key": owner_key(session.user)}
    return (
        Statement(
            "INSERT INTO user_session (token_hash, delegate_key, user_key, content, expire_ms) "
            "VALUES (?, ?, ?, ?, ?)",
            (token_hash, *user.values(), session.content, session.expire_ms),
        ),
        Statement("DELETE FROM user_session WHERE expire_ms <= ?", (now_ms,)),
        _keep_newest("user_session", MAX_SESSIONS_PER_USER, user),
        _keep_newest("user_session", MAX_SESSIONS, delegate),
    )


def find_session(token_hash: str) -> Statement:
    """Return the query for the content of a session."""
    return Statement("SELECT content FROM user_session WHERE token_hash = ?", (token_hash,))


def _keep_newest(table: str, count: int, equal: Mapping[str, str]) -> Statement:
    """Return the statement that removes all rows with some values except the newest ones."""
    # The names are constants of this module; the values are arguments.
    matching = " AND ".join(f"{name} = ?" for name in equal) or "TRUE"
    first = f"SELECT number FROM {table} WHERE {matching} ORDER BY number DESC LIMIT 1 OFFSET {count}"  # noqa: S608
    sql = f"DELETE FROM {table} WHERE {matching} AND number <= ({first})"  # noqa: S608
    return Statement(sql, (*equal.values(), *equal.values()))
