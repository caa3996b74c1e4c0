"""API tokens, by their hash; the token itself is never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from playbooks.record import Json
from storage.errors import NotFound
from storage.tables import tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token that is to be stored; times in ms since the epoch; ``limits`` as ``storage.limits`` gives them."""

    id: str
    name: str
    hash: str
    permissions: Sequence[str]
    created_at: int
    created_by: str
    expires_at: int | None = None
    limits: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow(NewToken):
    """A token, revoked and expired ones included."""

    revoked_at: int | None = None


_t = tokens.c
_FIELDS = [field.name for field in fields(TokenRow)]
_NEW_FIELDS = [field.name for field in fields(NewToken)]
_columns = [_t[name] for name in _FIELDS]

_INSERT = insert(tokens)
_BY_HASH = select(*_columns).where(_t.hash == bindparam("wanted"))
_REVOKE = update(tokens).where(_t.id == bindparam("key"), _t.revoked_at.is_(None)).values(revoked_at=bindparam("at"))
_COUNT = select(func.count()).select_from(tokens)
_LIST = (
    select(*_columns).order_by(_t.created_at.desc(), _t.id).limit(bindparam("at_most")).offset(bindparam("from_row"))
)


def create(connection: Connection, new: NewToken) -> TokenRow:
    """Store a token."""
    values = {name: getattr(new, name) for name in _NEW_FIELDS}
    connection.execute(_INSERT, values)
    return TokenRow(**values)


def get_by_hash(connection: Connection, token_hash: str) -> TokenRow | None:
    """The token with this hash, or None; whether it still counts is for the caller to see."""
    row = connection.execute(_BY_HASH, {"wanted": token_hash}).one_or_none()
    return None if row is None else _token(row)


def list_tokens(connection: Connection, page: int = 1, per_page: int = 20) -> tuple[list[TokenRow], int]:
    """One page of tokens, newest first, and how many there are."""
    total = connection.execute(_COUNT).scalar_one()
    rows = connection.execute(_LIST, {"at_most": per_page, "from_row": (page - 1) * per_page})
    return [_token(row) for row in rows], total


def revoke(connection: Connection, token_id: str, at: int) -> None:
    """Make a token worthless from this moment (ms).  Raises ``NotFound``, also when it was revoked before."""
    if connection.execute(_REVOKE, {"key": token_id, "at": at}).rowcount == 0:
        raise NotFound("token", token_id)


def _token(row: Row[Any]) -> TokenRow:
    return TokenRow(**dict(zip(_FIELDS, row, strict=True)))
