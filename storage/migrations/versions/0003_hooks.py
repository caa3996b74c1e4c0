"""Hooks.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "hooks",
        sa.Column("id", Words, nullable=False),
        sa.Column("playbook_id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("token_hash", Words, nullable=False),
        sa.Column("signature", Words, nullable=False),
        sa.Column("secret", Words),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", Words, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_hooks"),
        sa.UniqueConstraint("token_hash", name="uq_hooks_token_hash"),
        sa.ForeignKeyConstraint(["playbook_id"], ["playbooks.id"], name="fk_hooks_playbook_id_playbooks"),
    )
    op.create_index("ix_hooks_playbook_id", "hooks", ["playbook_id"])


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("hooks")
