"""The revisions of sub-playbooks that an execution was pinned to, so that a rerun takes the same.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; what ran before names none, and a rerun of it takes the revisions of its own time."""
    op.add_column("executions", sa.Column("pinned", sa.LargeBinary()))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("executions", "pinned")
