"""The Phantom interface: users, containers, artifacts and what belongs to them.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import IndexedWords, JsonText, PackedJson, Serial, Words

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = (
    "users",
    "playbook_numbers",
    "containers",
    "artifacts",
    "notes",
    "comments",
    "pins",
    "phantom_runs",
    "taken_artifacts",
)


def upgrade() -> None:
    """Adds the tables, and gives every playbook its number."""
    op.add_column("executions", sa.Column("context", PackedJson))
    op.create_table(
        "users",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("username", IndexedWords, nullable=False),
        sa.Column("password_hash", Words),
        sa.Column("token_id", Words),
        sa.Column("permissions", JsonText, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sa.UniqueConstraint("token_id", name="uq_users_token_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "playbook_numbers",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("playbook_id", Words, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_playbook_numbers"),
        sa.UniqueConstraint("playbook_id", name="uq_playbook_numbers_playbook_id"),
        sa.ForeignKeyConstraint(["playbook_id"], ["playbooks.id"], name="fk_playbook_numbers_playbook_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "containers",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("label", Words, nullable=False),
        sa.Column("description", Words, nullable=False),
        sa.Column("status", Words, nullable=False),
        sa.Column("severity", Words, nullable=False),
        sa.Column("sensitivity", Words, nullable=False),
        sa.Column("container_type", Words, nullable=False),
        sa.Column("source_data_identifier", IndexedWords, nullable=False),
        sa.Column("hash", Words, nullable=False),
        sa.Column("kill_chain", Words),
        sa.Column("owner", sa.Integer),
        sa.Column("owner_name", Words),
        sa.Column("role", sa.Integer),
        sa.Column("tenant", sa.Integer, nullable=False),
        sa.Column("asset", sa.Integer),
        sa.Column("ingest_app", sa.Integer),
        sa.Column("parent_container", sa.Integer),
        sa.Column("current_phase", sa.Integer),
        sa.Column("workflow_name", Words, nullable=False),
        sa.Column("in_case", sa.Boolean, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("due_time", sa.BigInteger, nullable=False),
        sa.Column("open_time", sa.BigInteger),
        sa.Column("close_time", sa.BigInteger),
        sa.Column("container_update_time", sa.BigInteger, nullable=False),
        sa.Column("artifact_update_time", sa.BigInteger, nullable=False),
        sa.Column("tags", JsonText, nullable=False),
        sa.Column("custom_fields", PackedJson, nullable=False),
        sa.Column("data", PackedJson, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_containers"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_containers_source", "containers", ["source_data_identifier"])
    op.create_table(
        "artifacts",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("container", sa.Integer, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("label", Words, nullable=False),
        sa.Column("type", Words),
        sa.Column("description", Words),
        sa.Column("severity", Words, nullable=False),
        sa.Column("source_data_identifier", IndexedWords, nullable=False),
        sa.Column("hash", Words, nullable=False),
        sa.Column("kill_chain", Words),
        sa.Column("owner", sa.Integer),
        sa.Column("ingest_app", sa.Integer),
        sa.Column("parent_container", sa.Integer),
        sa.Column("parent_artifact", sa.Integer),
        sa.Column("playbook_run", sa.Integer),
        sa.Column("in_case", sa.Boolean, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("start_time", sa.BigInteger, nullable=False),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        sa.Column("tags", JsonText, nullable=False),
        sa.Column("cef", PackedJson, nullable=False),
        sa.Column("cef_types", PackedJson, nullable=False),
        sa.Column("data", PackedJson, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
        sa.ForeignKeyConstraint(["container"], ["containers.id"], name="fk_artifacts_container"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_artifacts_container", "artifacts", ["container", "id"])
    op.create_index("ix_artifacts_source", "artifacts", ["container", "source_data_identifier"])
    op.create_table(
        "notes",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("container", sa.Integer, nullable=False),
        sa.Column("artifact", sa.Integer),
        sa.Column("author", sa.Integer),
        sa.Column("title", Words, nullable=False),
        sa.Column("content", Words, nullable=False),
        sa.Column("note_type", Words, nullable=False),
        sa.Column("note_format", Words, nullable=False),
        sa.Column("phase", sa.Integer),
        sa.Column("task", sa.Integer),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("modified_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
        sa.ForeignKeyConstraint(["container"], ["containers.id"], name="fk_notes_container"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notes_container", "notes", ["container"])
    op.create_table(
        "comments",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("container", sa.Integer, nullable=False),
        sa.Column("user", sa.Integer),
        sa.Column("comment", Words, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comments"),
        sa.ForeignKeyConstraint(["container"], ["containers.id"], name="fk_comments_container"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_comments_container", "comments", ["container"])
    op.create_table(
        "pins",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("container", sa.Integer, nullable=False),
        sa.Column("author", sa.Integer),
        sa.Column("message", Words, nullable=False),
        sa.Column("data", Words, nullable=False),
        sa.Column("pin_type", Words, nullable=False),
        sa.Column("pin_style", Words, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("modified_time", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pins"),
        sa.ForeignKeyConstraint(["container"], ["containers.id"], name="fk_pins_container"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_pins_container", "pins", ["container"])
    op.create_table(
        "phantom_runs",
        sa.Column("number", Serial, autoincrement=False, nullable=False),
        sa.Column("container", sa.Integer, nullable=False),
        sa.Column("scope", JsonText, nullable=False),
        sa.Column("owner", sa.Integer),
        sa.Column("ip_address", Words),
        sa.Column("last_artifact", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_phantom_runs"),
        sa.ForeignKeyConstraint(["number"], ["executions.number"], name="fk_phantom_runs_number"),
    )
    op.create_index("ix_phantom_runs_container", "phantom_runs", ["container", "number"])
    op.create_table(
        "taken_artifacts",
        sa.Column("playbook_id", Words, nullable=False),
        sa.Column("artifact", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("execution_id", Words, nullable=False),
        sa.PrimaryKeyConstraint("playbook_id", "artifact", name="pk_taken_artifacts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_taken_artifacts_artifact", "taken_artifacts", ["artifact"])
    op.create_index("ix_taken_artifacts_execution_id", "taken_artifacts", ["execution_id"])
    op.execute(
        "INSERT INTO playbook_numbers (playbook_id, active) SELECT id, true FROM playbooks ORDER BY created_at, id"
    )


def downgrade() -> None:
    """Drops the tables."""
    for name in reversed(TABLES):
        op.drop_table(name)
    with op.batch_alter_table("executions") as table:
        table.drop_column("context")
