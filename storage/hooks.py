"""Hooks: addresses at which other systems start a playbook.  Of its token only the hash is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from storage.errors import NotFound
from storage.tables import hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """A hook that is to be stored; ``created_at`` in ms since the epoch."""

    id: str
    playbook_id: str
    name: str
    token_hash: str
    signature: str
    """How deliveries are signed, see ``executions.signatures``."""
    secret: str | None
    """Sealed, see ``engine.sealing``; None where deliveries are not signed."""
    created_at: int
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRow(NewHook):
    """A stored hook."""

    removed_at: int | None


_h = hooks.c
_FIELDS = [field.name for field in fields(HookRow)]
_columns = [_h[name] for name in _FIELDS]
_kept = _h.removed_at.is_(None)

_BY_HASH = select(*_columns).where(_h.token_hash == bindparam("wanted"), _kept)
_REMOVE = (
    update(hooks)
    .where(_h.id == bindparam("key"), _h.playbook_id == bindparam("of_playbook"), _kept)
    .values(removed_at=bindparam("at"))
)
_OF_PLAYBOOK = _h.playbook_id == bindparam("of_playbook")
_COUNT = select(func.count()).select_from(hooks).where(_OF_PLAYBOOK, _kept)
_LIST = (
    select(*_columns)
    .where(_OF_PLAYBOOK, _kept)
    .order_by(_h.created_at.desc(), _h.id)
    .limit(bindparam("at_most"))
    .offset(bindparam("from_row"))
)


def create(connection: Connection, new: NewHook) -> HookRow:
    """Store a hook."""
    row = HookRow(**{field.name: getattr(new, field.name) for field in fields(NewHook)}, removed_at=None)
    connection.execute(insert(hooks), {name: getattr(row, name) for name in _FIELDS})
    return row


def get_by_hash(connection: Connection, token_hash: str) -> HookRow | None:
    """The hook whose token has this hash, unless it was removed."""
    row = connection.execute(_BY_HASH, {"wanted": token_hash}).one_or_none()
    return None if row is None else _hook(row)


def list_hooks(
    connection: Connection, playbook_id: str, page: int = 1, per_page: int = 20
) -> tuple[list[HookRow], int]:
    """One page of a playbook's hooks, newest first, and how many there are."""
    total = connection.execute(_COUNT, {"of_playbook": playbook_id}).scalar_one()
    window = {"of_playbook": playbook_id, "at_most": per_page, "from_row": (page - 1) * per_page}
    return [_hook(row) for row in connection.execute(_LIST, window)], total


def remove(connection: Connection, playbook_id: str, hook_id: str, at: int) -> None:
    """Make a hook worthless from this moment (ms).  Raises ``NotFound``."""
    if connection.execute(_REMOVE, {"key": hook_id, "of_playbook": playbook_id, "at": at}).rowcount == 0:
        raise NotFound("hook", hook_id)


def _hook(row: Row[Any]) -> HookRow:
    return HookRow(**dict(zip(_FIELDS, row, strict=True)))
