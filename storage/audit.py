"""The audit trail: who did what to which object, when, from where, with what outcome.

It only grows.  There is no function to change an entry, and triggers in the database refuse it.  Each entry carries a
hash over itself and the hash of the one before (``chained``); ``storage.audit_chain`` verifies them and forgets what
is too old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from playbooks.record import Json
from storage.columns import dump, storable
from storage.tables import audit, audit_head


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAudit:
    """What is to be remembered; ``at`` in ms since the epoch."""

    at: int
    actor_id: str
    actor_name: str
    action: str
    object_type: str
    object_id: str | None
    outcome: str
    address: str | None
    details: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow(NewAudit):
    """An entry of the trail; ids rise in the order of writing, which is that of the chain."""

    id: int
    hash: str


_a = audit.c
_NEW_FIELDS = [field.name for field in fields(NewAudit)]
_FIELDS = [field.name for field in fields(AuditRow)]
_columns = [_a[name] for name in _FIELDS]
_INSERT = insert(audit)
_HEAD = select(audit_head.c.hash)
_MOVE_HEAD = update(audit_head)


def append(connection: Connection, *entries: NewAudit) -> None:
    """Add entries to the trail, in the transaction of what they tell of."""
    if not entries:
        return
    rows: list[dict[str, Any]] = [{name: getattr(entry, name) for name in _NEW_FIELDS} for entry in entries]
    if connection.dialect.name == "sqlite":  # on Postgres a trigger does this, which holds the head until the commit
        last = connection.execute(_HEAD).scalar_one()
        for row in rows:
            row["hash"] = last = chained(last, *_texts(row))
        connection.execute(_MOVE_HEAD, {"hash": last})
    connection.execute(_INSERT, rows)


def chained(previous: str, *fields: str | None) -> str:
    """The hash of an entry with these ``fields`` after the one whose hash is ``previous`` ("" for the first).

    SHA-256 over every part, each with its length before it, so that no two different entries read alike.
    """
    content = "".join("-" if part is None else f"{len(part)}:{part}" for part in (previous, *fields))
    return hashlib.sha256(content.encode()).hexdigest()


def _texts(row: dict[str, Any]) -> Sequence[str | None]:
    """The fields as the database keeps them."""
    *texts, details = (row[name] for name in _NEW_FIELDS)
    told = [None if text is None else storable(str(text)) for text in texts]
    return [*told, None if details is None else dump(details)]


def contains(connection: Connection, entry: NewAudit) -> bool:
    """Whether this very entry was written before."""
    same = [_a[name] == getattr(entry, name) for name in ("object_id", "at", "action", "actor_id", "details")]
    return connection.execute(select(_a.id).where(*same).limit(1)).first() is not None


def list_audit(
    connection: Connection,
    *,
    actor: str | None = None,
    action: str | None = None,
    object_type: str | None = None,
    object_id: str | None = None,
    since: int | None = None,
    until: int | None = None,
    page: int = 1,
    per_page: int = 20,
) -> tuple[list[AuditRow], int]:
    """One page of entries, newest first, and how many match.

    ``actor`` is an id; ``since`` and ``until`` are in ms, those moments included.
    """
    given = {_a.actor_id: actor, _a.action: action, _a.object_type: object_type, _a.object_id: object_id}
    wanted: list[ColumnElement[bool]] = [column == value for column, value in given.items() if value is not None]
    if since is not None:
        wanted.append(_a.at >= since)
    if until is not None:
        wanted.append(_a.at <= until)
    total = connection.execute(select(func.count()).select_from(audit).where(*wanted)).scalar_one()
    rows = connection.execute(
        select(*_columns).where(*wanted).order_by(_a.id.desc()).limit(per_page).offset((page - 1) * per_page)
    )
    return [_entry(row) for row in rows], total


def _entry(row: Row[Any]) -> AuditRow:
    return AuditRow(**dict(zip(_FIELDS, row, strict=True)))
