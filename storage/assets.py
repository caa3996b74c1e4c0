"""Assets: what playbooks work on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, exists, func, insert, or_, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql, sqlite

from playbooks.record import Json
from storage.columns import dump
from storage.errors import NotFound, Taken
from storage.search import fold
from storage.tables import asset_tags, assets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    id: str
    name: str
    type: str
    hostname: str | None = None
    ip: str | None = None
    url: str | None = None
    tags: dict[str, Json]
    attributes: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset(_Fields):
    """An asset as it is to be stored at the moment ``at``, ms since the epoch."""

    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow(_Fields):
    """An asset; times in ms since the epoch."""

    created_at: int
    updated_at: int
    deleted_at: int | None = None


_a = assets.c
_FIELDS = [field.name for field in fields(AssetRow)]
_GIVEN = [field.name for field in fields(_Fields)]
_columns = [_a[name] for name in _FIELDS]
_kept = _a.deleted_at.is_(None)

_GET = select(*_columns).where(_a.id == bindparam("key"), _kept)
_LOCK = _GET.with_for_update()
_DELETE = update(assets).where(_a.id == bindparam("key"), _kept).values(deleted_at=bindparam("at"))
_DELETE_TAGS = delete_from(asset_tags).where(asset_tags.c.asset_id == bindparam("key"))
_INSERT = {
    "sqlite": sqlite.insert(assets).on_conflict_do_nothing().returning(assets.c.id),
    "postgresql": postgresql.insert(assets).on_conflict_do_nothing().returning(assets.c.id),
}


def create(connection: Connection, new: NewAsset) -> AssetRow:
    """Store an asset.  Raises ``Taken("id")``, also for the id of a deleted one."""
    row = AssetRow(created_at=new.at, updated_at=new.at, **_given(new))
    if connection.execute(_INSERT[connection.dialect.name], _values(row)).first() is None:
        raise Taken("id")
    _add_tags(connection, row)
    return row


def replace(connection: Connection, asset_id: str, new: NewAsset) -> AssetRow:
    """Store what an asset has become; ``new.id`` is its own.  Raises ``NotFound``."""
    old = connection.execute(_LOCK, {"key": asset_id}).one_or_none()
    if old is None:
        raise NotFound("asset", asset_id)
    row = AssetRow(created_at=old.created_at, updated_at=new.at, **_given(new))
    connection.execute(update(assets).where(_a.id == asset_id).values(_values(row)))
    connection.execute(_DELETE_TAGS, {"key": asset_id})
    _add_tags(connection, row)
    return row


def delete(connection: Connection, asset_id: str, at: int) -> None:
    """Take an asset out of lists and lookups at this moment (ms); executions keep their snapshot.

    Raises ``NotFound``.
    """
    if connection.execute(_DELETE, {"key": asset_id, "at": at}).rowcount == 0:
        raise NotFound("asset", asset_id)


def get(connection: Connection, asset_id: str) -> AssetRow | None:
    """The asset, or None."""
    row = connection.execute(_GET, {"key": asset_id}).one_or_none()
    return None if row is None else _asset(row)


def find(connection: Connection, text: str) -> list[AssetRow]:
    """The asset with this id; without one, those with this hostname, address or name, at most two of them."""
    known = get(connection, text)
    if known is not None:
        return [known]
    named = or_(_a.hostname == text, _a.ip == text, _a.name == text)
    return [_asset(row) for row in connection.execute(select(*_columns).where(_kept, named).limit(2))]


def matching(
    connection: Connection,
    *,
    asset_id: str | None = None,
    hostname: str | None = None,
    ip: str | None = None,
    tag: str | None = None,
    limit: int = 20,
) -> tuple[list[AssetRow], int]:
    """The assets for which all that is given is true, by name, and how many there are.

    Host names are compared in any case, with and without the last dot (RFC 4343); ``ip`` is in its short notation, as
    it is stored; ``tag`` is ``key``, or ``key=value``.
    """
    wanted: list[ColumnElement[bool]] = [_kept]
    if asset_id is not None:
        wanted.append(_a.id == asset_id)
    if hostname is not None:
        folded = hostname.rstrip(".").lower()
        wanted.append(func.lower(_a.hostname).in_([folded, f"{folded}."]))
    if ip is not None:
        wanted.append(_a.ip == ip)
    if tag is not None:
        wanted.append(_has_tag(tag))
    total = connection.execute(select(func.count()).select_from(assets).where(*wanted)).scalar_one()
    rows = connection.execute(select(*_columns).where(*wanted).order_by(_a.search_text, _a.id).limit(limit))
    return [_asset(row) for row in rows], total


def list_assets(
    connection: Connection,
    *,
    search: str | None = None,
    type: str | None = None,  # noqa: A002 - the word of the interface
    tag: str | None = None,
    page: int = 1,
    per_page: int = 20,
    seen: ColumnElement[bool] | None = None,
) -> tuple[list[AssetRow], int]:
    """One page of assets by name, and how many match.

    ``search`` is looked for in name, hostname, ip and url, whatever its case; ``tag`` is ``key``, or ``key=value``;
    ``seen`` is a condition of ``storage.limits``.
    """
    wanted: list[ColumnElement[bool]] = [_kept] if seen is None else [_kept, seen]
    if search:
        wanted.append(_a.search_text.contains(fold(search), autoescape=True))
    if type is not None:
        wanted.append(_a.type == type)
    if tag is not None:
        wanted.append(_has_tag(tag))
    total = connection.execute(select(func.count()).select_from(assets).where(*wanted)).scalar_one()
    rows = connection.execute(
        select(*_columns).where(*wanted).order_by(_a.search_text, _a.id).limit(per_page).offset((page - 1) * per_page)
    )
    return [_asset(row) for row in rows], total


def _has_tag(tag: str) -> ColumnElement[bool]:
    key, equals, value = tag.partition("=")
    found = exists().where(asset_tags.c.asset_id == _a.id, asset_tags.c.key == key)
    return found.where(asset_tags.c.value == value) if equals else found


def _given(new: NewAsset) -> dict[str, Any]:
    return {name: getattr(new, name) for name in _GIVEN}


def _values(row: AssetRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _FIELDS} | {
        "search_text": fold(row.name, row.hostname, row.ip, row.url)
    }


def _add_tags(connection: Connection, row: AssetRow) -> None:
    if row.tags:
        rows = [{"asset_id": row.id, "key": key, "value": _tag_value(value)} for key, value in row.tags.items()]
        connection.execute(insert(asset_tags), rows)


def _tag_value(value: Json) -> str:
    return value if isinstance(value, str) else dump(value)


def _asset(row: Row[Any]) -> AssetRow:
    return AssetRow(**dict(zip(_FIELDS, row, strict=True)))
