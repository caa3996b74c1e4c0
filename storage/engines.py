"""Engines for the two databases, with the settings that keep what was acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import re2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

BUSY_SECONDS = 10
"""How long SQLite waits for another process's transaction."""

_POSTGRES_DEFAULTS: dict[str, Any] = {
    "application_name": "stanchion",
    "connect_timeout": 3,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,  # ms; a host that vanished must not hold a request for ever
}


def parse(url: str) -> URL:
    """The URL, with psycopg 3 as Postgres's driver; raises ValueError for another database or one in memory."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(f"no such database: {parsed.drivername}; use sqlite:///file or postgresql+psycopg://…")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("a database in memory would lose what was acknowledged: name a file")
    return parsed


def is_sqlite(url: URL) -> bool:
    """True for a file, False for Postgres."""
    return url.get_backend_name() == "sqlite"


_OPTIONS: dict[str, Any] = {"max_overflow": 0, "hide_parameters": True}
"""Of every engine; the text of an error comes into the log, and what was to be stored may be a secret."""


def postgres_engine(url: URL, pool_size: int) -> Engine:
    """An engine for reads and writes; what the URL's query sets goes before our defaults."""
    arguments = {key: value for key, value in _POSTGRES_DEFAULTS.items() if key not in url.query}
    return create_engine(url, pool_size=pool_size, pool_timeout=5, connect_args=arguments, **_OPTIONS)


def sqlite_reader(url: URL, pool_size: int) -> Engine:
    """An engine whose connections cannot write; each transaction sees one snapshot."""
    return _sqlite_engine(url, pool_size, "BEGIN", ("query_only=ON",))


def sqlite_writer(url: URL) -> Engine:
    """An engine with one connection; each transaction takes the write lock when it begins."""
    # FULL syncs the log at every commit: with NORMAL a power cut could take back what was acknowledged.
    return _sqlite_engine(url, 1, "BEGIN IMMEDIATE", ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"))


def _matches(pattern: str | None, text: str | None) -> bool | None:
    """What SQLite's ``REGEXP`` means: whether ``pattern`` is found in ``text``, in time that grows with its length."""
    if pattern is None or text is None:
        return None
    return re2.search(pattern, text) is not None


def _lower(text: object) -> str | None:
    """What SQLite's ``lower`` means."""
    return None if text is None else str(text).lower()


def _sqlite_engine(url: URL, pool_size: int, begin: str, pragmas: tuple[str, ...]) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=pool_size,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        **_OPTIONS,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # else the driver begins transactions by its own rules
        # In place of SQLAlchemy's own, whose patterns can take for ever.
        connection.create_function("regexp", 2, _matches, deterministic=True)
        # SQLite's own knows the letters of ASCII only; Postgres knows them all.
        connection.create_function("lower", 1, _lower, deterministic=True)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.cursor().execute(begin)  # past SQLAlchemy, which would add a tenth to a short read

    return engine
