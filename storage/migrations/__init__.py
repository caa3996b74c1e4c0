"""Schema revisions, for Alembic; ``storage.migrate`` runs them."""

HEAD = "0006"
"""The revision that this version of the program works with."""
