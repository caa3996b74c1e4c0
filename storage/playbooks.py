"""Playbooks and their revisions.  A revision never changes and is never deleted: runs refer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Text, bindparam, cast, exists, func, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from playbooks.record import Json
from storage.errors import NotFound, Taken
from storage.phantom.tables import playbook_numbers
from storage.search import fold
from storage.tables import playbook_revisions, playbook_tags, playbooks


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRevision:
    """A checked definition, to be stored as a playbook's next revision; ``created_at`` in ms since the epoch."""

    slug: str
    name: str
    description: str
    trigger: Json
    tags: Sequence[str]
    version: str
    definition: Json
    source: str
    """The text as it was sent."""
    source_media_type: str
    parameters_schema: Json
    secret_parameters: Sequence[str]
    plan: Json
    steps: Sequence[Json]
    """One ``{id, name, type, action}`` for each step of the flat list."""
    created_at: int
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlaybook(NewRevision):
    """A playbook that is to be created."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookRow:
    """A playbook as lists show it, without its definition; times in ms since the epoch."""

    id: str
    slug: str
    name: str
    description: str
    trigger: Json
    tags: list[str]
    version: str
    revision: int
    step_count: int
    created_at: int
    updated_at: int
    deleted_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionSummary:
    """A revision as lists show it."""

    playbook_id: str
    revision: int
    version: str
    step_count: int
    created_at: int
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionRow(RevisionSummary):
    """A revision with everything that a run is pinned to."""

    definition: Json
    source: str
    source_media_type: str
    parameters_schema: Json
    secret_parameters: list[str]
    plan: Json
    steps: list[Json]


_p = playbooks.c
_r = playbook_revisions.c
_ROW_FIELDS = [field.name for field in fields(PlaybookRow)]
_REVISION_FIELDS = [field.name for field in fields(RevisionRow)]
_SUMMARY_FIELDS = [field.name for field in fields(RevisionSummary)]
_columns = [_p[name] for name in _ROW_FIELDS]
_kept = _p.deleted_at.is_(None)

_BY_ID = select(*_columns).where(_p.id == bindparam("key"))
_BY_SLUG = select(*_columns).where(_p.slug == bindparam("key"), _kept)
_SCHEDULED = select(*_columns).where(cast(_p.trigger, Text).contains('"schedule"'), _kept).order_by(_p.id)
_LOCK = _BY_ID.where(_kept).with_for_update()
_HOLD = select(_p.id).where(_p.id == bindparam("key"), _kept).with_for_update(read=True, key_share=True)
_REVISION = select(*[_r[name] for name in _REVISION_FIELDS]).where(
    _r.playbook_id == bindparam("key"), _r.revision == bindparam("number")
)
_REVISIONS = (
    select(*[_r[name] for name in _SUMMARY_FIELDS])
    .where(_r.playbook_id == bindparam("key"))
    .order_by(_r.revision.desc())
    .limit(bindparam("at_most"))
    .offset(bindparam("from_row"))
)
_COUNT_REVISIONS = select(func.count()).select_from(playbook_revisions).where(_r.playbook_id == bindparam("key"))
_DELETE = update(playbooks).where(_p.id == bindparam("key"), _kept).values(deleted_at=bindparam("at"))
_DELETE_TAGS = delete_from(playbook_tags).where(playbook_tags.c.playbook_id == bindparam("key"))
_INSERT = {
    "sqlite": sqlite.insert(playbooks).on_conflict_do_nothing().returning(playbooks.c.id),
    "postgresql": postgresql.insert(playbooks).on_conflict_do_nothing().returning(playbooks.c.id),
}


def create(connection: Connection, new: NewPlaybook) -> PlaybookRow:
    """Store a playbook with its first revision.

    Raises ``Taken("id")``, also for the id of a deleted playbook, and ``Taken("slug")``.
    """
    row = PlaybookRow(id=new.id, created_at=new.created_at, **_changing(new, 1))
    if connection.execute(_INSERT[connection.dialect.name], _values(row)).first() is None:
        raise Taken("id" if connection.execute(_BY_ID, {"key": new.id}).first() else "slug")
    _add_revision(connection, new.id, 1, new)
    connection.execute(insert(playbook_numbers), {"playbook_id": new.id, "active": True})
    return row


def replace(connection: Connection, playbook_id: str, new: NewRevision) -> PlaybookRow:
    """Store the next revision; name and slug may change.  Raises ``NotFound`` and ``Taken("slug")``."""
    old = connection.execute(_LOCK, {"key": playbook_id}).one_or_none()
    if old is None:
        raise NotFound("playbook", playbook_id)
    row = PlaybookRow(id=playbook_id, created_at=old.created_at, **_changing(new, old.revision + 1))
    try:
        connection.execute(update(playbooks).where(_p.id == playbook_id).values(_values(row)))
    except IntegrityError as error:
        raise Taken("slug") from error
    connection.execute(_DELETE_TAGS, {"key": playbook_id})
    _add_revision(connection, playbook_id, row.revision, new)
    return row


def hold(connection: Connection, playbook_id: str) -> bool:
    """Whether the playbook is there; if it is, nobody who locks it first deletes it before this transaction ends."""
    return connection.execute(_HOLD, {"key": playbook_id}).first() is not None


def lock(connection: Connection, playbook_id: str) -> None:
    """Keep everybody else from changing and from holding the playbook until this transaction ends.

    Raises ``NotFound``.
    """
    if connection.execute(_LOCK, {"key": playbook_id}).first() is None:
        raise NotFound("playbook", playbook_id)


def delete(connection: Connection, playbook_id: str, at: int) -> None:
    """Take a playbook out of lists and lookups at this moment (ms); its slug is free again, its revisions stay.

    Raises ``NotFound``.
    """
    if connection.execute(_DELETE, {"key": playbook_id, "at": at}).rowcount == 0:
        raise NotFound("playbook", playbook_id)


def get(connection: Connection, id_or_slug: str, *, include_deleted: bool = False) -> PlaybookRow | None:
    """The playbook with this id, else the one with this slug, else None; a deleted one only by its id, if asked."""
    row = connection.execute(_BY_ID, {"key": id_or_slug}).one_or_none()
    if row is None or (row.deleted_at is not None and not include_deleted):
        row = connection.execute(_BY_SLUG, {"key": id_or_slug}).one_or_none()
    return None if row is None else _playbook(row)


def get_revision(connection: Connection, playbook_id: str, number: int) -> RevisionRow | None:
    """A revision, also of a deleted playbook, or None."""
    row = connection.execute(_REVISION, {"key": playbook_id, "number": number}).one_or_none()
    return None if row is None else RevisionRow(**dict(zip(_REVISION_FIELDS, row, strict=True)))


def scheduled(connection: Connection) -> list[PlaybookRow]:
    """The playbooks that run by the clock."""
    return [_playbook(row) for row in connection.execute(_SCHEDULED)]


def list_revisions(
    connection: Connection, playbook_id: str, page: int = 1, per_page: int = 20
) -> tuple[list[RevisionSummary], int]:
    """One page of a playbook's revisions, newest first, and how many there are."""
    total = connection.execute(_COUNT_REVISIONS, {"key": playbook_id}).scalar_one()
    window = {"key": playbook_id, "at_most": per_page, "from_row": (page - 1) * per_page}
    rows = connection.execute(_REVISIONS, window)
    return [RevisionSummary(**dict(zip(_SUMMARY_FIELDS, row, strict=True))) for row in rows], total


def list_playbooks(
    connection: Connection,
    *,
    search: str | None = None,
    tag: str | None = None,
    page: int = 1,
    per_page: int = 20,
    seen: ColumnElement[bool] | None = None,
) -> tuple[list[PlaybookRow], int]:
    """One page of playbooks by name, and how many match.

    ``search`` is looked for in name, slug and description, whatever its case; ``tag`` must be one of the tags; ``seen``
    is a condition of ``storage.limits``.
    """
    wanted: list[ColumnElement[bool]] = [_kept] if seen is None else [_kept, seen]
    if search:
        wanted.append(_p.search_text.contains(fold(search), autoescape=True))
    if tag is not None:
        wanted.append(exists().where(playbook_tags.c.playbook_id == _p.id, playbook_tags.c.tag == tag))
    total = connection.execute(select(func.count()).select_from(playbooks).where(*wanted)).scalar_one()
    rows = connection.execute(
        select(*_columns).where(*wanted).order_by(_p.search_text, _p.id).limit(per_page).offset((page - 1) * per_page)
    )
    return [_playbook(row) for row in rows], total


def _changing(new: NewRevision, revision: int) -> dict[str, Any]:
    """What of a playbook's row a revision sets."""
    return {
        "slug": new.slug,
        "name": new.name,
        "description": new.description,
        "trigger": new.trigger,
        "tags": new.tags,
        "version": new.version,
        "revision": revision,
        "step_count": len(new.steps),
        "updated_at": new.created_at,
        "deleted_at": None,
    }


def _values(row: PlaybookRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _ROW_FIELDS} | {
        "search_text": fold(row.name, row.slug, row.description)
    }


def _add_revision(connection: Connection, playbook_id: str, revision: int, new: NewRevision) -> None:
    own = {"playbook_id": playbook_id, "revision": revision, "step_count": len(new.steps)}
    values = {name: getattr(new, name) for name in _REVISION_FIELDS if name not in own}
    connection.execute(insert(playbook_revisions), values | own)
    if new.tags:
        rows = [{"playbook_id": playbook_id, "tag": tag} for tag in dict.fromkeys(new.tags)]
        connection.execute(insert(playbook_tags), rows)


def _playbook(row: Row[Any]) -> PlaybookRow:
    return PlaybookRow(**dict(zip(_ROW_FIELDS, row, strict=True)))
