"""Containers, their artifacts, and what people write beside them; deleting a container deletes all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select

from storage.phantom.filters import Field, Fields, Kind
from storage.phantom.records import Record, Records
from storage.phantom.tables import artifacts, comments, containers, notes, phantom_runs, pins, taken_artifacts, users

STATUSES: Final = ("new", "open", "closed")
SEVERITIES: Final = ("high", "medium", "low")
"""In the order of their numbers, from 1."""

_CHOICES: Final = {"status": STATUSES, "severity": SEVERITIES}
_TIMES: Final = frozenset({"modified_time", "time"})


def _kind(column: ColumnElement[object]) -> Kind:
    name = str(column.key)
    if name.endswith("_time") or name in _TIMES:
        return "time"
    match type(column.type).__name__:
        case "Boolean":
            return "flag"
        case "JsonText":
            return "json"
        case "Integer" | "BigInteger" | "Variant":
            return "number"
    return "text"


def _field(column: ColumnElement[object]) -> Field:
    name = str(column.key)
    return Field(column, _kind(column), is_object=name in ("cef", "custom_fields"), choices=_CHOICES.get(name, ()))


def _fields(columns: list[ColumnElement[object]], more: Fields, aliases: dict[str, str] | None = None) -> Fields:
    """What a list filters and sorts by: the readable columns, computed fields, and other names for some of them."""
    hidden = ("data", "cef_types", "source_key")
    own = {str(column.key): _field(column) for column in columns if column.key not in hidden}
    key = next((column for column in columns if column.key == "source_key"), None)
    if key is not None:
        own["source_data_identifier"] = replace(own["source_data_identifier"], key=key)
    named = {alias: own[name] for alias, name in (aliases or {}).items()}
    return {**own, **named, **more}


_c, _a, _r = containers.c, artifacts.c, phantom_runs.c

_COUNT = select(func.count()).where(_a.container == _c.id).correlate(containers).scalar_subquery()


def _of_user(owner: ColumnElement[object]) -> ColumnElement[str]:
    return select(users.c.username).where(users.c.id == owner).scalar_subquery()


def of_container(name: str, container: ColumnElement[object]) -> ColumnElement[object]:
    """A field of the container with this number."""
    return select(_c[name]).where(_c.id == container).scalar_subquery()


_artifact: Fields = _fields(list(_a), {})
_run: Fields = {name: Field(column, "number") for name, column in
                (("id", _r.number), ("container", _r.container), ("owner", _r.owner))}  # fmt: skip

CONTAINERS: Final = Records(
    containers,
    _fields(
        list(_c),
        {
            "artifact": Field(_a.id, "number", of=_artifact, on=_a.container == _c.id),
            "artifact_count": Field(_COUNT, "number"),
            "playbookrun": Field(_r.number, "number", of=_run, on=_r.container == _c.id),
            "owner__username": Field(_of_user(_c.owner)),
        },
        {"owner_id": "owner", "asset_id": "asset", "severity_id": "severity", "severity__name": "severity",
         "status__name": "status", "status_id": "status", "label__name": "label", "tenant_id": "tenant",
         "role_id": "role", "ingest_app_id": "ingest_app", "parent_container_id": "parent_container",
         "current_phase_id": "current_phase"},
    ),
    extra=[_COUNT.label("artifact_count")],
)  # fmt: skip

_of_artifact: Fields = {
    f"container__{name}": Field(of_container(name, _a.container), _kind(_c[name]), choices=_CHOICES.get(name, ()))
    for name in ("name", "label", "status", "severity", "owner", "create_time", "tenant", "source_data_identifier")
}
ARTIFACTS: Final = Records(
    artifacts,
    _fields(
        list(_a),
        {**_of_artifact, "container_id": Field(_a.container, "number"), "owner__username": Field(_of_user(_a.owner))},
        {
            "severity_id": "severity",
            "owner_id": "owner",
            "container__id": "container",
            "ingest_app_id": "ingest_app",
            "parent_container_id": "parent_container",
            "parent_artifact_id": "parent_artifact",
            "playbook_run_id": "playbook_run",
        },
    ),
)


def _beside(table_columns: list[ColumnElement[object]], container: ColumnElement[object], author: str) -> Fields:
    return _fields(
        table_columns,
        {
            "container_id": Field(container, "number"),
            "container__name": Field(of_container("name", container)),
            f"{author}__username": Field(_of_user(next(one for one in table_columns if one.key == author))),
        },
    )


NOTES: Final = Records(notes, _beside(list(notes.c), notes.c.container, "author"))
COMMENTS: Final = Records(comments, _beside(list(comments.c), comments.c.container, "user"))
PINS: Final = Records(pins, _beside(list(pins.c), pins.c.container, "author"))


def source_of(connection: Connection, source_data_identifier: str, asset: int | None) -> int | None:
    """The container with this ``source_data_identifier`` of this asset, or None; another one waits for this look."""
    if connection.dialect.name == "postgresql":
        # Of two that are created at once, the second looks after the first is there.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(source_data_identifier))))
    same_asset = _c.asset.is_(None) if asset is None else _c.asset == asset
    wanted = (_c.source_key == source_data_identifier, same_asset)
    return connection.execute(select(_c.id).where(*wanted).order_by(_c.id).limit(1)).scalar()


def add_artifact(connection: Connection, values: Record) -> int:
    """Stores an artifact; its container has changed with it."""
    number = ARTIFACTS.create(connection, values)
    CONTAINERS.change(connection, int(values["container"]), {"artifact_update_time": values["create_time"]})
    return number


def delete_container(connection: Connection, number: int) -> bool:
    """Deletes a container and everything in it; False when it is not there.  Runs on it stay readable."""
    # Held first, so that nothing is put into it meanwhile.
    if CONTAINERS.locked(connection, number) is None:
        return False
    inside = select(_a.id).where(_a.container == number)
    Records(taken_artifacts, {}).remove(connection, taken_artifacts.c.artifact.in_(inside))
    for records in (ARTIFACTS, NOTES, COMMENTS, PINS):
        records.remove(connection, records.table.c.container == number)
    return CONTAINERS.remove(connection, _c.id == number) > 0


def delete_artifact(connection: Connection, number: int) -> bool:
    """Deletes an artifact; False when it is not there."""
    Records(taken_artifacts, {}).remove(connection, taken_artifacts.c.artifact == number)
    return ARTIFACTS.remove(connection, _a.id == number) > 0


def tags_in_use(connection: Connection) -> list[str]:
    """Every tag that a container has."""
    kept = connection.execute(select(_c.tags).distinct()).scalars()
    return sorted({str(tag) for tags in kept if isinstance(tags, list) for tag in tags})


def artifacts_of(connection: Connection, number: int) -> list[Record]:
    """Every artifact of a container, in the order in which they came."""
    rows = connection.execute(select(*_a).where(_a.container == number).order_by(_a.id))
    return [dict(row) for row in rows.mappings()]
