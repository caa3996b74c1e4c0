"""Schema revisions, for Alembic; ``storage.migrate`` runs them."""

HEAD = "0015"
"""The revision that this version of the program works with."""
