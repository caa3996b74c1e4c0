"""Identifiers of sources are kept whole beside the key that finds them; what lists look into becomes readable.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import IndexedWords, JsonText, PackedJson

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Stored = JsonText | PackedJson

PACKED = (("containers", "custom_fields"), ("artifacts", "cef"))
INDEXES = (
    ("containers", "ix_containers_source", ["source_data_identifier"]),
    ("artifacts", "ix_artifacts_source", ["container", "source_data_identifier"]),
)


def upgrade() -> None:
    """Adds the keys, and writes the objects anew."""
    for table, index, _ in INDEXES:
        op.drop_index(index, table)
        op.add_column(table, sa.Column("source_key", IndexedWords, nullable=False, server_default=""))
        op.execute(f"UPDATE {table} SET source_key = source_data_identifier")
        op.create_index(index, table, ["source_key"])
    for table, column in PACKED:
        _write_anew(table, column, PackedJson, JsonText, "'{}'")


def downgrade() -> None:
    """Takes them back; an identifier that is too long for the index becomes its key."""
    empty = "X'7B7D'" if op.get_bind().dialect.name == "sqlite" else "'\\x7b7d'::bytea"
    for table, column in PACKED:
        _write_anew(table, column, JsonText, PackedJson, empty)
    for table, index, columns in INDEXES:
        op.drop_index(index, table)
        op.execute(f"UPDATE {table} SET source_data_identifier = source_key")
        op.drop_column(table, "source_key")
        op.create_index(index, table, columns)


def _write_anew(name: str, column: str, before: type[Stored], after: type[Stored], empty: str) -> None:
    """Gives a column another type.  The table stays, since a new one would count its numbers anew."""
    old = f"{column}_old"
    op.execute(f"ALTER TABLE {name} RENAME COLUMN {column} TO {old}")
    op.add_column(name, sa.Column(column, after, nullable=False, server_default=sa.text(empty)))
    table = sa.table(name, sa.column("id", sa.Integer), sa.column(column, after()), sa.column(old, before()))
    page = sa.select(table.c.id, table.c[old]).where(table.c.id > sa.bindparam("after")).order_by(table.c.id).limit(500)
    change = sa.update(table).where(table.c.id == sa.bindparam("number")).values({column: sa.bindparam("value")})
    connection, last = op.get_bind(), 0
    while rows := connection.execute(page, {"after": last}).all():
        connection.execute(change, [{"number": row[0], "value": row[1]} for row in rows])
        last = rows[-1][0]
    op.drop_column(name, old)
