"""The audit trail becomes a chain of hashes; what is there already is chained as it stands.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

from storage.columns import Words

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FIELDS = ("at", "actor_id", "actor_name", "action", "object_type", "object_id", "outcome", "address", "details")

# The same as ``storage.audit.chained``.  The database does it on Postgres, so that every writer is in the chain, one
# of the version before this one too, and so that ids rise in the order of the chain whoever commits first.
CHAIN = """
CREATE FUNCTION chain_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  previous text;
  part text;
  content text := '';
BEGIN
  SELECT hash INTO STRICT previous FROM audit_head FOR UPDATE;
  NEW.id := nextval(pg_get_serial_sequence('audit', 'id'));
  FOREACH part IN ARRAY ARRAY[previous, NEW.at::text, NEW.actor_id, NEW.actor_name, NEW.action, NEW.object_type,
                              NEW.object_id, NEW.outcome, NEW.address, NEW.details] LOOP
    content := content || CASE WHEN part IS NULL THEN '-' ELSE length(part) || ':' || part END;
  END LOOP;
  NEW.hash := encode(sha256(convert_to(content, 'UTF8')), 'hex');
  UPDATE audit_head SET hash = NEW.hash;
  RETURN NEW;
END $$
"""
# Only what an entry of the trail itself says to be forgotten may go.
REFUSE = """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF EXISTS (SELECT 1 FROM audit WHERE action = 'audit.forget' AND object_id::bigint >= OLD.id) THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'the audit trail is append-only';
END $$
"""
REFUSE_AS_BEFORE = """
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$
"""


def upgrade() -> None:
    """Adds the hashes and the head of the chain."""
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("hash", Words, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute("ALTER TABLE audit DISABLE TRIGGER audit_is_append_only")
    else:
        op.execute("DROP TRIGGER audit_refuses_update")
        op.execute("DROP TRIGGER audit_refuses_delete")
    op.add_column("audit", sa.Column("hash", Words, nullable=False, server_default=""))
    head = sa.table("audit_head", sa.column("id", sa.Integer), sa.column("hash", sa.Text))
    op.execute(head.insert().values(id=1, hash=_chain()))
    if postgres:
        op.execute("ALTER TABLE audit ENABLE TRIGGER audit_is_append_only")
        op.execute(REFUSE)
        op.execute(CHAIN)
        op.execute(
            "CREATE TRIGGER audit_is_chained BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION chain_audit()"
        )
        return
    op.execute(_sqlite_refusal("UPDATE"))
    op.execute(
        _sqlite_refusal(
            "DELETE",
            "WHEN NOT EXISTS (SELECT 1 FROM audit WHERE action = 'audit.forget' AND "
            "CAST(object_id AS INTEGER) >= OLD.id) ",
        )
    )


def downgrade() -> None:
    """Takes them back."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER audit_is_chained ON audit")
        op.execute("DROP FUNCTION chain_audit()")
        op.execute(REFUSE_AS_BEFORE)
    else:
        op.execute("DROP TRIGGER audit_refuses_delete")
        op.execute(_sqlite_refusal("DELETE"))
    op.drop_column("audit", "hash")
    op.drop_table("audit_head")


def _chain() -> str:
    """Gives every entry its hash, oldest first; the hash of the last."""
    table = sa.table("audit", sa.column("id"), sa.column("hash"), *(sa.column(name) for name in FIELDS))
    page = (
        sa.select(table.c.id, *(table.c[name] for name in FIELDS))
        .where(table.c.id > sa.bindparam("after", type_=sa.BigInteger))
        .order_by(table.c.id)
        .limit(1000)
    )
    change = sa.update(table).where(table.c.id == sa.bindparam("number")).values(hash=sa.bindparam("value"))
    connection, last, previous = op.get_bind(), 0, ""
    while rows := connection.execute(page, {"after": last}).all():
        changes = []
        for row in rows:
            parts = [previous, *(None if value is None else str(value) for value in row[1:])]
            content = "".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
            previous = hashlib.sha256(content.encode()).hexdigest()
            changes.append({"number": row[0], "value": previous})
        connection.execute(change, changes)
        last = rows[-1][0]
    return previous


def _sqlite_refusal(act: str, when: str = "") -> str:
    return (
        f"CREATE TRIGGER audit_refuses_{act.lower()} BEFORE {act} ON audit {when}"
        "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
    )
