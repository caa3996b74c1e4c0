"""Artifacts of runs: files that their steps have made.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import Words

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "run_artifacts",
        sa.Column("execution_id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("step", Words, nullable=False),
        sa.Column("media_type", Words, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sha256", Words, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "name", name="pk_run_artifacts"),
        sa.ForeignKeyConstraint(
            ["execution_id"], ["executions.id"], name="fk_run_artifacts_execution_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("run_artifacts")
