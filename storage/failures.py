"""Which errors of a driver mean *try again later*, and which mean that something is wrong with us."""

from __future__ import annotations

import sqlite3
import sys

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import DatabaseUnavailable

_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""Primary result codes (https://sqlite.org/rescode.html) that pass without our doing."""

_POSTGRES_CLASSES = ("08", "53", "57", "58")
"""Connection, resources (disk full, too many clients), operator (shutdown, cancelled), system error."""

_POSTGRES_CODES = frozenset({"25006", "40001", "40P01", "55P03"})
"""A server that only reads (failover), serialization failure, deadlock, lock timeout."""

_RETRY_CODES = frozenset({"40001", "40P01"})


def unavailable(error: BaseException) -> DatabaseUnavailable | None:
    """What to tell the caller when ``error`` is a passing failure of the database; None when it is not."""
    if isinstance(error, DatabaseUnavailable):
        return error
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("all connections to the database are in use")
    # The text of SQLAlchemy's own error would show the statement and its values.
    cause = error.orig if isinstance(error, DBAPIError) else error
    if cause is not None and _passes(cause):
        return DatabaseUnavailable(str(cause).strip().partition("\n")[0] or type(cause).__name__)
    return None


def worth_repeating(error: BaseException) -> bool:
    """True when a transaction that was not yet being committed may simply be run again."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _RETRY_CODES


def _passes(cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return code is not None and (code & 0xFF) in _SQLITE
    psycopg = sys.modules.get("psycopg")  # on SQLite it is never loaded: 9 MB of each process
    if psycopg is None or not isinstance(cause, psycopg.Error):
        return False
    if cause.sqlstate is None:  # it never reached a server, or lost it
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return _is_passing(cause.sqlstate)


def _is_passing(sqlstate: str) -> bool:
    return sqlstate.startswith(_POSTGRES_CLASSES) or sqlstate in _POSTGRES_CODES
