"""The host keys of SSH servers that somebody has trusted.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Words

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "host_keys",
        sa.Column("id", Words, nullable=False),
        sa.Column("host", Words, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("algorithm", Words, nullable=False),
        sa.Column("key", Words, nullable=False),
        sa.Column("fingerprint", Words, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", Words, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host_keys"),
        sa.UniqueConstraint("host", "port", "fingerprint", name="uq_host_keys_host_port_fingerprint"),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("host_keys")
