"""Schema revisions, for Alembic; ``storage.migrate`` runs them."""

HEAD = "0010"
"""The revision that this version of the program works with."""
