"""Large values that are kept outside Temporal's history, by reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.tables import blobs

_GET = select(blobs.c.id, blobs.c.data).where(blobs.c.id.in_(bindparam("keys", expanding=True)))
_sqlite, _postgresql = sqlite.insert(blobs), postgresql.insert(blobs)
# An id that is there already keeps its data and becomes as young as its latest use.
_INSERT = {
    "sqlite": _sqlite.on_conflict_do_update(
        index_elements=[blobs.c.id], set_={"created_at": _sqlite.excluded.created_at}
    ),
    "postgresql": _postgresql.on_conflict_do_update(
        index_elements=[blobs.c.id], set_={"created_at": _postgresql.excluded.created_at}
    ),
}
_FORGET = delete(blobs).where(blobs.c.created_at < bindparam("before"))


def put(connection: Connection, values: Mapping[str, bytes], at: int) -> None:
    """Store each of ``values`` under its id at this moment (ms); repeating it changes nothing but the moment."""
    rows = [{"id": blob_id, "created_at": at, "data": values[blob_id]} for blob_id in sorted(values)]
    connection.execute(_INSERT[connection.dialect.name], rows)


def get(connection: Connection, blob_ids: Sequence[str]) -> dict[str, bytes]:
    """The data of those of ``blob_ids`` that are there."""
    return {row.id: row.data for row in connection.execute(_GET, {"keys": list(blob_ids)})}


def forget(connection: Connection, before: int) -> int:
    """Delete what was last stored before this moment (ms); how many they were."""
    return connection.execute(_FORGET, {"before": before}).rowcount
