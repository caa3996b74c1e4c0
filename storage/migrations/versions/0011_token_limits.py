"""Tokens may be limited to playbooks and assets by their labels.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import JsonText

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; a token without limits has NULL."""
    op.add_column("tokens", sa.Column("limits", JsonText))


def downgrade() -> None:
    """Takes it back."""
    op.drop_column("tokens", "limits")
