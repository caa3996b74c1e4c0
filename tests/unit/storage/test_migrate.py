"""Migrations: on an empty database, again, at once, and beside a newer version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from storage import migrations
from storage.database import Database
from storage.errors import DatabaseUnavailable, SchemaMismatch
from storage.migrate import current_revision, migrate
from storage.migrations import HEAD
from storage.phantom.tables import metadata
from tests.postgres import PostgresServer

MIGRATE = "import sys; from storage.migrate import migrate; migrate(sys.argv[1])"


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/folder/empty.sqlite"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    request.addfinalizer(lambda: server.drop_database(name))  # noqa: PT021
    return server.url(name)


def revision_of(url: str) -> str | None:
    """The schema revision of the database at ``url``."""
    database = Database(url, pool_size=1)
    try:
        return database.read_sync(current_revision)
    finally:
        database.close()


def test_the_tables_are_those_of_the_migrations(database: Database) -> None:
    """Alembic finds no difference between the metadata and a migrated database."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert database.read_sync(differences) == []


def test_a_missing_column_would_be_found(database: Database) -> None:
    """The comparison above is able to fail."""

    def differences(connection: Connection) -> list[object]:
        connection.execute(text("ALTER TABLE assets DROP COLUMN url"))
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert len(database.write_sync(differences)) == 1


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """The second time there is nothing to do, and what is stored stays."""
    before = revision_of(database_url)
    migrate(database_url)
    assert (before, revision_of(database_url)) == (HEAD, HEAD)


def test_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    """Two processes on an empty database all succeed."""
    processes = [
        subprocess.Popen([sys.executable, "-c", MIGRATE, empty_url], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert ([process.returncode for process in processes], errors) == ([0, 0], ["", ""])
    assert revision_of(empty_url) == HEAD


def test_a_migration_that_fails_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it happens or nothing: a failure in its last step leaves an empty database."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        migrate(empty_url)
    database = Database(empty_url, pool_size=1)
    assert database.read_sync(lambda connection: inspect(connection).get_table_names()) == []
    database.close()


def test_a_newer_schema_is_refused(database: Database, database_url: str) -> None:
    """An older version must not touch what it does not know; the error says what to do."""
    database.write_sync(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(SchemaMismatch, match=r"9999.*run the version that made it"):
        migrate(database_url)


def test_head_is_the_newest_revision() -> None:
    """The constant that start-up compares with is the last script's."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_the_first_revision_can_be_taken_back(empty_url: str) -> None:
    """A downgrade leaves no table and no function behind, so that an upgrade works again."""
    from alembic import command

    migrate(empty_url)
    database = Database(empty_url, pool_size=1)

    def downgrade(connection: Connection) -> list[str]:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        return inspect(connection).get_table_names()

    assert database.write_sync(downgrade) == ["alembic_version"]
    database.close()
    migrate(empty_url)


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A refused connection is something that passes."""
    with pytest.raises(DatabaseUnavailable):
        migrate(f"postgresql://nobody@/none?host={tmp_path}")


def test_the_lock_is_given_back(postgres_url: str) -> None:
    """After a migration no advisory lock is held on the server."""
    migrate(postgres_url)
    database = Database(postgres_url, pool_size=1)
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert database.read_sync(lambda connection: connection.execute(locks).scalar()) == 0
    database.close()
