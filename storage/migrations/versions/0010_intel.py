"""What is known of vulnerabilities: KEV, EPSS and NVD, and what was read when.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage.columns import JsonText, PackedJson, Words

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the tables."""
    op.create_table(
        "intel_sources",
        sa.Column("source", Words, nullable=False),
        sa.Column("origin", JsonText, nullable=False),
        sa.Column("version", Words, nullable=False),
        sa.Column("as_of", sa.BigInteger),
        sa.Column("synced_at", sa.BigInteger, nullable=False),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("sample", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_intel_sources"),
    )
    op.create_table(
        "intel_kev",
        sa.Column("cve", Words, nullable=False),
        sa.Column("vendor", Words, nullable=False),
        sa.Column("product", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("description", Words, nullable=False),
        sa.Column("date_added", Words, nullable=False),
        sa.Column("due_date", Words),
        sa.Column("required_action", Words, nullable=False),
        sa.Column("ransomware", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("cve", name="pk_intel_kev"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "intel_epss",
        sa.Column("cve", Words, nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("percentile", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("cve", name="pk_intel_epss"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "intel_nvd",
        sa.Column("cve", Words, nullable=False),
        sa.Column("status", Words, nullable=False),
        sa.Column("published", sa.BigInteger),
        sa.Column("modified", sa.BigInteger, nullable=False),
        sa.Column("description", Words, nullable=False),
        sa.Column("ratings", JsonText, nullable=False),
        sa.Column("details", PackedJson, nullable=False),
        sa.PrimaryKeyConstraint("cve", name="pk_intel_nvd"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drops the tables."""
    for table in ("intel_nvd", "intel_epss", "intel_kev", "intel_sources"):
        op.drop_table(table)
