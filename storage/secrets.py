"""Secrets of playbooks that the database keeps, sealed (``engine.sealing``).  Only names are ever listed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from storage.errors import NotFound
from storage.tables import secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRow:
    """A stored secret without its value; times in ms since the epoch."""

    name: str
    created_at: int
    updated_at: int
    updated_by: str


_s = secrets.c
_columns = [_s[field.name] for field in fields(SecretRow)]
_SEALED = select(_s.sealed).where(_s.name == bindparam("named"))
_GET = select(*_columns).where(_s.name == bindparam("named"))
_DELETE = delete(secrets).where(_s.name == bindparam("named"))
_COUNT = select(func.count()).select_from(secrets)
_LIST = select(*_columns).order_by(_s.name).limit(bindparam("at_most")).offset(bindparam("from_row"))
_sqlite, _postgresql = sqlite.insert(secrets), postgresql.insert(secrets)
_CHANGING = ("sealed", "updated_at", "updated_by")
_PUT = {
    "sqlite": _sqlite.on_conflict_do_update(
        index_elements=[_s.name], set_={name: _sqlite.excluded[name] for name in _CHANGING}
    ),
    "postgresql": _postgresql.on_conflict_do_update(
        index_elements=[_s.name], set_={name: _postgresql.excluded[name] for name in _CHANGING}
    ),
}


def put(connection: Connection, name: str, sealed: str, at: int, by: str) -> SecretRow:
    """Store a secret, in the place of an earlier one of this name."""
    values = {"name": name, "sealed": sealed, "created_at": at, "updated_at": at, "updated_by": by}
    connection.execute(_PUT[connection.dialect.name], values)
    return SecretRow(**connection.execute(_GET, {"named": name}).one()._asdict())


def get_sealed(connection: Connection, name: str) -> str | None:
    """The sealed value, or None."""
    sealed: str | None = connection.execute(_SEALED, {"named": name}).scalar()
    return sealed


def list_secrets(connection: Connection, page: int = 1, per_page: int = 20) -> tuple[list[SecretRow], int]:
    """One page of the names, and how many there are."""
    total = connection.execute(_COUNT).scalar_one()
    rows = connection.execute(_LIST, {"at_most": per_page, "from_row": (page - 1) * per_page})
    return [SecretRow(**row._asdict()) for row in rows], total


def remove(connection: Connection, name: str) -> None:
    """Delete a secret.  Raises ``NotFound``."""
    if connection.execute(_DELETE, {"named": name}).rowcount == 0:
        raise NotFound("secret", name)
