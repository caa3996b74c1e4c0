"""Large values that are kept outside Temporal's history, by reference."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import blobs

_GET = select(blobs.c.data).where(blobs.c.id == bindparam("key"))
_INSERT = {
    "sqlite": sqlite.insert(blobs).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(blobs).on_conflict_do_nothing(),
}


def put(connection: Connection, blob_id: str, data: bytes, at: int) -> None:
    """Store ``data`` at this moment (ms); an id that is there already keeps its data, so this may be repeated."""
    connection.execute(_INSERT[connection.dialect.name], {"id": blob_id, "created_at": at, "data": data})


def get(connection: Connection, blob_id: str) -> bytes | None:
    """The data, or None."""
    return connection.execute(_GET, {"key": blob_id}).scalar()
