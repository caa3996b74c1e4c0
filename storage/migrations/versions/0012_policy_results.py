"""Results of comparisons with policies, for the next comparison.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import JsonText, Serial, Words

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the table."""
    op.create_table(
        "policy_results",
        sa.Column("id", Serial, sa.Identity(), nullable=False),
        sa.Column("asset_id", Words, nullable=False),
        sa.Column("baseline", Words, nullable=False),
        sa.Column("subject", Words, nullable=False),
        sa.Column("execution_id", Words, nullable=False),
        sa.Column("step", Words, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Float, nullable=True),
        sa.Column("digest", Words, nullable=False),
        sa.Column("outcomes", JsonText, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_results"),
        sa.UniqueConstraint("execution_id", "step", name="uq_policy_results_execution_id_step"),
    )
    columns = ["asset_id", "baseline", "subject", "id"]
    op.create_index("ix_policy_results_of_asset", "policy_results", columns)


def downgrade() -> None:
    """Drops the table."""
    op.drop_table("policy_results")
