"""Artifacts: files that the steps of a run have made, such as reports.  They go with their execution.

The Phantom interface has artifacts of its own, which are something else (``storage.phantom``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.errors import NotFound, NotKept, Taken
from storage.tables import executions, run_artifacts

RUN_BYTES = 64 * 1024 * 1024
"""Bytes of all artifacts of one run."""

RUN_COUNT = 200
"""Artifacts of one run."""

RERUN_DEPTH = 20
"""How many reruns of reruns are followed back to a kept result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtifact:
    """An artifact that is to be stored; ``created_at`` in ms since the epoch."""

    execution_id: str
    name: str
    step: str
    media_type: str
    created_at: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRow:
    """A stored artifact without its content; ``size`` in bytes."""

    execution_id: str
    name: str
    step: str
    media_type: str
    size: int
    sha256: str
    created_at: int


_a, _e = run_artifacts.c, executions.c
_columns = [_a[field.name] for field in fields(ArtifactRow)]
_of_run = _a.execution_id == bindparam("of_run")
_named = _a.name == bindparam("named")
_LIST = select(*_columns).where(_of_run).order_by(_a.created_at, _a.name)
_GET = select(*_columns).where(_of_run, _named)
_DATA = select(_a.data).where(_of_run, _named)
_REST = select(func.count(), func.coalesce(func.sum(_a.size), 0)).where(_of_run, _a.name != bindparam("named"))
_RUN = select(_e.closed_at, _e.rerun_of, _e.rerun_from).where(_e.id == bindparam("of_run"))
_sqlite, _postgresql = sqlite.insert(run_artifacts), postgresql.insert(run_artifacts)
_CHANGING = [column.name for column in run_artifacts.c if not column.primary_key]
# What a step writes again takes the place of what it wrote; another step's row stays, and no row comes back.
_PUT = {
    "sqlite": _sqlite.on_conflict_do_update(
        index_elements=[_a.execution_id, _a.name],
        set_={name: _sqlite.excluded[name] for name in _CHANGING},
        where=_a.step == _sqlite.excluded.step,
    ).returning(_a.name),
    "postgresql": _postgresql.on_conflict_do_update(
        index_elements=[_a.execution_id, _a.name],
        set_={name: _postgresql.excluded[name] for name in _CHANGING},
        where=_a.step == _postgresql.excluded.step,
    ).returning(_a.name),
}


def put(connection: Connection, new: NewArtifact) -> ArtifactRow:
    """Store an artifact of a run that is under way; the same step may store it again.

    Raises ``NotFound`` for an unknown execution, ``NotKept`` for one that is over or whose artifacts are too many, and
    ``Taken`` when another step of the run has the name.
    """
    run = connection.execute(_RUN, {"of_run": new.execution_id}).one_or_none()
    if run is None:
        raise NotFound("execution", new.execution_id)
    if run.closed_at is not None:
        raise NotKept("The run is over; nothing is added to it.")
    count, size = connection.execute(_REST, {"of_run": new.execution_id, "named": new.name}).one()
    if count >= RUN_COUNT:
        raise NotKept(f"The run has {count} artifacts; no more are kept.")
    if size + len(new.data) > RUN_BYTES:
        raise NotKept(f"The artifacts of the run would have more than {RUN_BYTES // 2**20} MiB.")
    values = {name: getattr(new, name) for name in NewArtifact.__dataclass_fields__}
    values |= {"size": len(new.data), "sha256": hashlib.sha256(new.data).hexdigest()}
    if connection.execute(_PUT[connection.dialect.name], values).first() is None:
        raise Taken("name")
    return ArtifactRow(**{field.name: values[field.name] for field in fields(ArtifactRow)})


def get(connection: Connection, execution_id: str, name: str) -> tuple[ArtifactRow, bytes] | None:
    """An artifact with its content, or None."""
    key = {"of_run": execution_id, "named": name}
    row = connection.execute(_GET, key).one_or_none()
    if row is None:
        return None
    return _artifact(row), connection.execute(_DATA, key).scalar_one()


def find(connection: Connection, execution_id: str, name: str) -> tuple[ArtifactRow, bytes] | None:
    """``get``, or where the run repeats another one and keeps its results, the artifact of that one."""
    wanted: str | None = execution_id
    for _ in range(RERUN_DEPTH):
        if wanted is None:
            break
        if (found := get(connection, wanted, name)) is not None:
            return found
        run = connection.execute(_RUN, {"of_run": wanted}).one_or_none()
        wanted = run.rerun_of if run is not None and run.rerun_from is not None else None
    return None


def summary(connection: Connection, execution_id: str, name: str) -> ArtifactRow | None:
    """An artifact without its content, or None."""
    row = connection.execute(_GET, {"of_run": execution_id, "named": name}).one_or_none()
    return None if row is None else _artifact(row)


def list_artifacts(connection: Connection, execution_id: str) -> list[ArtifactRow]:
    """The artifacts of a run, oldest first, without their content."""
    return [_artifact(row) for row in connection.execute(_LIST, {"of_run": execution_id})]


def _artifact(row: Row[Any]) -> ArtifactRow:
    return ArtifactRow(**row._asdict())
