"""Sub-playbooks, reruns and iterations of loops.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import PackedJson, Words

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns."""
    for name in ("parent_id", "parent_step", "rerun_of", "rerun_from"):
        op.add_column("executions", sa.Column(name, Words))
    for name in ("iterations", "vars"):
        op.add_column("execution_io", sa.Column(name, PackedJson))


def downgrade() -> None:
    """Takes the columns away, and with them what they say."""
    with op.batch_alter_table("execution_io") as table:
        for name in ("vars", "iterations"):
            table.drop_column(name)
    with op.batch_alter_table("executions") as table:
        for name in ("rerun_from", "rerun_of", "parent_step", "parent_id"):
            table.drop_column(name)
