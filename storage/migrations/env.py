"""Run by Alembic: apply the revisions on the connection that ``storage.migrate`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from storage.phantom.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, though Alembic does not expect it
)
with context.begin_transaction():
    context.run_migrations()
