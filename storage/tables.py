"""The tables.  Times are milliseconds since the epoch, UTC; ids are the opaque strings of the interface.

The migrations make the tables; a test holds this page and them together on both databases.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from storage.columns import ErrorText, IndexedWords, JsonText, PackedJson, Serial, StateText, Words

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

playbooks = Table(
    "playbooks",
    metadata,
    Column("id", Words, primary_key=True),
    Column("slug", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("trigger", JsonText, nullable=False),
    Column("tags", JsonText, nullable=False),
    Column("version", Words, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("step_count", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("search_text", Words, nullable=False),  # case-folded, so that both databases fold alike
    Index(
        "uq_playbooks_slug",
        "slug",
        unique=True,
        sqlite_where=text("deleted_at IS NULL"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
)

playbook_tags = Table(
    "playbook_tags",
    metadata,
    Column("playbook_id", Words, ForeignKey("playbooks.id"), primary_key=True),
    Column("tag", IndexedWords, primary_key=True),
    Index("ix_playbook_tags_tag", "tag"),
    sqlite_with_rowid=False,
)

playbook_revisions = Table(
    "playbook_revisions",
    metadata,
    Column("playbook_id", Words, ForeignKey("playbooks.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("definition", PackedJson, nullable=False),
    Column("source", PackedJson, nullable=False),
    Column("source_media_type", Words, nullable=False),
    Column("parameters_schema", PackedJson, nullable=False),
    Column("secret_parameters", JsonText, nullable=False),
    Column("plan", PackedJson, nullable=False),
    Column("steps", PackedJson, nullable=False),
    Column("version", Words, nullable=False),
    Column("step_count", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Words, nullable=False),
)

assets = Table(
    "assets",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("type", Words, nullable=False),
    Column("hostname", Words),
    Column("ip", Words),
    Column("url", Words),
    Column("tags", JsonText, nullable=False),
    Column("attributes", JsonText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Column("search_text", Words, nullable=False),
)

asset_tags = Table(
    "asset_tags",
    metadata,
    Column("asset_id", Words, ForeignKey("assets.id"), primary_key=True),
    Column("key", IndexedWords, primary_key=True),
    Column("value", IndexedWords, nullable=False),
    Index("ix_asset_tags_key_value", "key", "value"),
    sqlite_with_rowid=False,
)

executions = Table(
    "executions",
    metadata,
    Column("number", Serial, Identity(), primary_key=True),  # the order of lists
    Column("id", Words, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("playbook_id", Words, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("asset_id", Words, nullable=False),
    Column("asset", PackedJson, nullable=False),
    Column("parameters", PackedJson, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("dry_run_reads", Boolean, nullable=False),
    Column("workflow_id", Words, nullable=False),
    Column("workflow_run_id", Words),
    Column("state", StateText),  # NULL until it is final
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("error", ErrorText),
    Column("outputs", PackedJson),
    Column("record", PackedJson),  # compact rows of playbooks.progress
    Column("cancelled_at", BigInteger),
    Column("cancelled_by", Words),
    Column("cancel_reason", Words),
    Column("closed_at", BigInteger),  # the workflow has closed and the whole record is here
    Column("parent_id", Words),  # the execution that started it as a sub-playbook, and the step
    Column("parent_step", Words),
    Column("rerun_of", Words),  # the execution that it repeats, and from where: "failed", or NULL for the start
    Column("rerun_from", Words),
    Column("pinned", PackedJson),  # the revisions of the sub-playbooks by their ids; NULL for a child, and without any
    Column("context", PackedJson),  # what expressions see besides, see playbooks.contract.RunInput
    # Each index ends with what a list may filter by besides, so that counting never touches the rows.
    Index("ix_executions_playbook", "playbook_id", "number", "state", "dry_run"),
    Index("ix_executions_asset", "asset_id", "number", "state", "dry_run"),
    Index("ix_executions_state", "state", "number", "dry_run"),
    Index("ix_executions_dry_run", "dry_run", "number"),
    Index(
        "ix_executions_open",
        "number",
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
    Index(
        "ix_executions_rerun_of",
        "rerun_of",
        sqlite_where=text("rerun_of IS NOT NULL"),
        postgresql_where=text("rerun_of IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

execution_io = Table(
    "execution_io",
    metadata,
    Column("number", Serial, ForeignKey("executions.number"), primary_key=True, autoincrement=False),
    Column("io", PackedJson, nullable=False),
    Column("iterations", PackedJson),
    Column("vars", PackedJson),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Words, primary_key=True),
    Column("key", IndexedWords, primary_key=True),
    Column("body_hash", Words, nullable=False),
    Column("execution_id", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_idempotency_keys_execution_id", "execution_id"),
    Index("ix_idempotency_keys_created_at", "created_at"),
    sqlite_with_rowid=False,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("hash", Words, nullable=False, unique=True),
    Column("permissions", JsonText, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("limits", JsonText),  # see storage.limits
)

hooks = Table(
    "hooks",
    metadata,
    Column("id", Words, primary_key=True),
    Column("playbook_id", Words, ForeignKey("playbooks.id", name="fk_hooks_playbook_id_playbooks"), nullable=False),
    Column("name", Words, nullable=False),
    Column("token_hash", Words, nullable=False, unique=True),
    Column("signature", Words, nullable=False),
    Column("secret", Words),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("removed_at", BigInteger),
    Index("ix_hooks_playbook_id", "playbook_id"),
)

host_keys = Table(
    "host_keys",
    metadata,
    Column("id", Words, primary_key=True),
    Column("host", Words, nullable=False),
    Column("port", Integer, nullable=False),
    Column("algorithm", Words, nullable=False),
    Column("key", Words, nullable=False),
    Column("fingerprint", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Words, nullable=False),
    UniqueConstraint("host", "port", "fingerprint"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, Identity(), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor_id", Words, nullable=False),
    Column("actor_name", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("object_type", Words, nullable=False),
    Column("object_id", Words),
    Column("outcome", Words, nullable=False),
    Column("address", Words),
    Column("details", JsonText),
    Column("hash", Words, nullable=False, server_default=""),  # see storage.audit.chained
    Index("ix_audit_at", "at"),
    Index("ix_audit_actor_id", "actor_id", "id"),
    Index("ix_audit_action", "action", "id"),
    Index("ix_audit_object", "object_type", "object_id", "id"),
    sqlite_autoincrement=True,
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("hash", Words, nullable=False),  # of the newest entry of the trail
)

blobs = Table(
    "blobs",
    metadata,
    Column("id", Words, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

run_artifacts = Table(
    "run_artifacts",
    metadata,
    Column(
        "execution_id",
        Words,
        ForeignKey("executions.id", name="fk_run_artifacts_execution_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", Words, primary_key=True),
    Column("step", Words, nullable=False),
    Column("media_type", Words, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Words, primary_key=True),
    Column("sealed", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("updated_by", Words, nullable=False),
)

# What is known of vulnerabilities: one table for each source, and one that says what was read when.
intel_sources = Table(
    "intel_sources",
    metadata,
    Column("source", Words, primary_key=True),
    Column("origin", JsonText, nullable=False),  # the files or addresses that were read
    Column("version", Words, nullable=False),
    Column("as_of", BigInteger),  # the moment of which the source itself speaks
    Column("synced_at", BigInteger, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("sample", Boolean, nullable=False),  # the shipped sample, which the first real sync replaces
)

intel_kev = Table(
    "intel_kev",
    metadata,
    Column("cve", Words, primary_key=True),
    Column("vendor", Words, nullable=False),
    Column("product", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("date_added", Words, nullable=False),  # YYYY-MM-DD, as CISA gives them
    Column("due_date", Words),
    Column("required_action", Words, nullable=False),
    Column("ransomware", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

intel_epss = Table(
    "intel_epss",
    metadata,
    Column("cve", Words, primary_key=True),
    Column("probability", Float, nullable=False),
    Column("percentile", Float, nullable=False),
    sqlite_with_rowid=False,
)

intel_nvd = Table(
    "intel_nvd",
    metadata,
    Column("cve", Words, primary_key=True),
    Column("status", Words, nullable=False),
    Column("published", BigInteger),
    Column("modified", BigInteger, nullable=False),
    Column("description", Words, nullable=False),
    Column("ratings", JsonText, nullable=False),
    Column("details", PackedJson, nullable=False),  # weaknesses and references
    sqlite_with_rowid=False,
)

policy_results = Table(
    "policy_results",
    metadata,
    Column("id", Serial, Identity(), primary_key=True),
    Column("asset_id", Words, nullable=False),
    Column("baseline", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("execution_id", Words, nullable=False),
    Column("step", Words, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("score", Float),
    Column("digest", Words, nullable=False),
    Column("outcomes", JsonText, nullable=False),
    UniqueConstraint("execution_id", "step"),
    Index("ix_policy_results_of_asset", "asset_id", "baseline", "subject", "id"),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("id_hash", IndexedWords, primary_key=True),
    Column("token_hash", IndexedWords, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
