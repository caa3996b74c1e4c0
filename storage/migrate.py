"""Bring a database to the schema of this version."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from storage.engines import is_sqlite, parse, postgres_engine, sqlite_reader, sqlite_writer
from storage.errors import DatabaseUnavailable, SchemaMismatch
from storage.failures import unavailable
from storage.migrations import HEAD

_LOCK = 0x5354414E4348
"""Key of the advisory lock in Postgres under which migrations run."""

_VERSION = text("SELECT version_num FROM alembic_version")


def migrate(url: str) -> None:
    """Create or upgrade the tables of the database at ``url``; returns at once when there is nothing to do.

    Processes that start together wait for one another.  All of it happens or nothing.  Raises ``SchemaMismatch``
    when a newer version has been here, ``DatabaseUnavailable`` when the database cannot be reached or stays locked.
    """
    parsed = parse(url)
    engine = sqlite_writer(parsed) if is_sqlite(parsed) else postgres_engine(parsed, 1)
    try:
        _bring_to_head(engine)
    except Exception as error:
        failure = unavailable(error)
        if failure is None:
            raise
        raise failure from error
    finally:
        engine.dispose()


def require_current(url: str) -> None:
    """Returns when the database at ``url`` has the schema of this version, and changes nothing.

    Raises ``SchemaMismatch`` otherwise, ``DatabaseUnavailable`` when there is none.
    """
    parsed = parse(url)
    if is_sqlite(parsed) and not Path(str(parsed.database)).is_file():
        raise DatabaseUnavailable(f"there is no database {parsed.database}")
    engine = sqlite_reader(parsed, 1) if is_sqlite(parsed) else postgres_engine(parsed, 1)
    try:
        with engine.connect() as connection:
            found = current_revision(connection)
    except Exception as error:
        raise unavailable(error) or error from error
    finally:
        engine.dispose()
    if found != HEAD:
        raise SchemaMismatch(
            f"the database has schema {found}, this version works with {HEAD}: run `stanchion migrate`"
        )


def current_revision(connection: Connection) -> str | None:
    """The schema revision of the database; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_VERSION).scalar()


def _bring_to_head(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        current = current_revision(connection)
        if current != HEAD:
            _upgrade(connection, current)


def _upgrade(connection: Connection, current: str | None) -> None:
    from alembic import command  # slow to import, and mostly not needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database has schema {current}, which this version does not know (it knows up to {HEAD}); "
            "run the version that made it, or restore a backup"
        )
    command.upgrade(config, "head")
