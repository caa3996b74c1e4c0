"""Reruns are found by what they repeat: retention keeps an execution as long as one of its reruns.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

is_rerun = sa.text("rerun_of IS NOT NULL")


def upgrade() -> None:
    """Adds the index."""
    op.create_index(
        "ix_executions_rerun_of", "executions", ["rerun_of"], sqlite_where=is_rerun, postgresql_where=is_rerun
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_index("ix_executions_rerun_of", "executions", sqlite_where=is_rerun, postgresql_where=is_rerun)
