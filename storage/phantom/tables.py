"""The tables of the Phantom interface; columns have the names of its fields, ids are its numbers."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Identity, Index, Integer, Table

from storage.columns import IndexedWords, JsonText, PackedJson, Serial, Words
from storage.tables import metadata as metadata


def _number() -> Column[int]:
    return Column("id", Serial, Identity(), primary_key=True)


users = Table(
    "users",
    metadata,
    _number(),
    Column("username", IndexedWords, nullable=False, unique=True),
    Column("password_hash", Words),  # NULL: a token, which has no password
    Column("token_id", Words, unique=True),
    Column("permissions", JsonText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    sqlite_autoincrement=True,
)

playbook_numbers = Table(
    "playbook_numbers",
    metadata,
    _number(),
    Column("playbook_id", Words, ForeignKey("playbooks.id"), nullable=False, unique=True),
    Column("active", Boolean, nullable=False),
    sqlite_autoincrement=True,
)

containers = Table(
    "containers",
    metadata,
    _number(),
    Column("name", Words, nullable=False),
    Column("label", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("status", Words, nullable=False),
    Column("severity", Words, nullable=False),
    Column("sensitivity", Words, nullable=False),
    Column("container_type", Words, nullable=False),
    Column("source_data_identifier", Words, nullable=False),
    Column("source_key", IndexedWords, nullable=False),  # the same, as an index can hold it
    Column("hash", Words, nullable=False),
    Column("kill_chain", Words),
    Column("owner", Integer),
    Column("owner_name", Words),
    Column("role", Integer),
    Column("tenant", Integer, nullable=False),
    Column("asset", Integer),
    Column("ingest_app", Integer),
    Column("parent_container", Integer),
    Column("current_phase", Integer),
    Column("workflow_name", Words, nullable=False),
    Column("in_case", Boolean, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("due_time", BigInteger, nullable=False),
    Column("open_time", BigInteger),
    Column("close_time", BigInteger),
    Column("container_update_time", BigInteger, nullable=False),
    Column("artifact_update_time", BigInteger, nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("custom_fields", JsonText, nullable=False),
    Column("data", PackedJson, nullable=False),
    Column("version", Integer, nullable=False),
    Index("ix_containers_source", "source_key"),
    sqlite_autoincrement=True,
)

artifacts = Table(
    "artifacts",
    metadata,
    _number(),
    Column("container", Integer, ForeignKey("containers.id"), nullable=False),
    Column("name", Words, nullable=False),
    Column("label", Words, nullable=False),
    Column("type", Words),
    Column("description", Words),
    Column("severity", Words, nullable=False),
    Column("source_data_identifier", Words, nullable=False),
    Column("source_key", IndexedWords, nullable=False),
    Column("hash", Words, nullable=False),
    Column("kill_chain", Words),
    Column("owner", Integer),
    Column("ingest_app", Integer),
    Column("parent_container", Integer),
    Column("parent_artifact", Integer),
    Column("playbook_run", Integer),
    Column("in_case", Boolean, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("update_time", BigInteger, nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("cef", JsonText, nullable=False),  # readable, since lists are filtered by what it holds
    Column("cef_types", PackedJson, nullable=False),
    Column("data", PackedJson, nullable=False),
    Column("version", Integer, nullable=False),
    Index("ix_artifacts_container", "container", "id"),
    Index("ix_artifacts_source", "source_key"),
    sqlite_autoincrement=True,
)

notes = Table(
    "notes",
    metadata,
    _number(),
    Column("container", Integer, ForeignKey("containers.id"), nullable=False),
    Column("artifact", Integer),
    Column("author", Integer),
    Column("title", Words, nullable=False),
    Column("content", Words, nullable=False),
    Column("note_type", Words, nullable=False),
    Column("note_format", Words, nullable=False),
    Column("phase", Integer),
    Column("task", Integer),
    Column("create_time", BigInteger, nullable=False),
    Column("modified_time", BigInteger, nullable=False),
    Index("ix_notes_container", "container"),
    sqlite_autoincrement=True,
)

comments = Table(
    "comments",
    metadata,
    _number(),
    Column("container", Integer, ForeignKey("containers.id"), nullable=False),
    Column("user", Integer),
    Column("comment", Words, nullable=False),
    Column("time", BigInteger, nullable=False),
    Index("ix_comments_container", "container"),
    sqlite_autoincrement=True,
)

pins = Table(
    "pins",
    metadata,
    _number(),
    Column("container", Integer, ForeignKey("containers.id"), nullable=False),
    Column("author", Integer),
    Column("message", Words, nullable=False),
    Column("data", Words, nullable=False),
    Column("pin_type", Words, nullable=False),
    Column("pin_style", Words, nullable=False),
    Column("create_time", BigInteger, nullable=False),
    Column("modified_time", BigInteger, nullable=False),
    Index("ix_pins_container", "container"),
    sqlite_autoincrement=True,
)

phantom_runs = Table(
    "phantom_runs",
    metadata,
    Column("number", Serial, ForeignKey("executions.number"), primary_key=True, autoincrement=False),
    Column("container", Integer, nullable=False),
    Column("scope", JsonText, nullable=False),
    Column("owner", Integer),
    Column("ip_address", Words),
    Column("last_artifact", Integer, nullable=False),
    Index("ix_phantom_runs_container", "container", "number"),
)

taken_artifacts = Table(
    "taken_artifacts",
    metadata,
    Column("playbook_id", Words, primary_key=True),
    Column("artifact", Integer, primary_key=True, autoincrement=False),
    Column("execution_id", Words, nullable=False),
    Index("ix_taken_artifacts_execution_id", "execution_id"),
    Index("ix_taken_artifacts_artifact", "artifact"),
    sqlite_with_rowid=False,
)
