"""Tables, migrations and queries (SQLite and Postgres)."""
