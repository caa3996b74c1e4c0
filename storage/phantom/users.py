"""Users: who logs in with a name and a password, and the numbers of those who use a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from playbooks.record import Json
from storage.errors import NotFound, Taken
from storage.phantom.filters import Field
from storage.phantom.records import Records
from storage.phantom.tables import users
from storage.tables import tokens


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user; ``password_hash`` is None for who uses a token.  ``created_at`` in ms since the epoch."""

    id: int
    username: str
    password_hash: str | None
    token_id: str | None
    permissions: list[str]
    created_at: int
    removed_at: int | None


_u = users.c
_kept = _u.removed_at.is_(None)
_INSERT_NEW = {
    "sqlite": sqlite.insert(users).on_conflict_do_nothing().returning(_u.id),
    "postgresql": postgresql.insert(users).on_conflict_do_nothing().returning(_u.id),
}
"""Gives no number where the name, or the token, has one: what others commit meanwhile counts too."""

_TYPE = case((_u.password_hash.is_not(None) | _u.token_id.startswith("user:"), "normal"), else_="automation")
"""The user of the settings has no row with a password; ``user:`` is how its id begins."""

_OF_TOKEN = select(tokens.c.permissions).where(tokens.c.id == _u.token_id).scalar_subquery()

USERS = Records(
    users,
    {
        "id": Field(_u.id, "number"),
        "username": Field(_u.username),
        "type": Field(_TYPE),
        "is_active": Field(literal(True), "flag"),
        "email": Field(literal("")),
        "create_time": Field(_u.created_at, "time"),
        "date_joined": Field(_u.created_at, "time"),
    },
    extra=[_TYPE.label("type"), _OF_TOKEN.label("token_permissions")],
    base=[_kept],
)


def find(connection: Connection, username: str) -> UserRow | None:
    """The user of that name, unless it was removed."""
    row = connection.execute(select(*_u).where(_u.username == username, _kept)).one_or_none()
    return None if row is None else UserRow(**row._mapping)


def create(
    connection: Connection, username: str, password_hash: str, permissions: Sequence[str], created_at: int
) -> UserRow:
    """Stores a user.  Raises ``Taken("username")``, also for the name of one that was removed."""
    values = {
        "username": username, "password_hash": password_hash, "token_id": None,
        "permissions": list(permissions), "created_at": created_at, "removed_at": None,
    }  # fmt: skip
    number = connection.execute(_INSERT_NEW[connection.dialect.name], values).scalar()
    if number is None:
        raise Taken("username")
    return UserRow(id=number, **values)  # type: ignore[arg-type]


def remove(connection: Connection, number: int, at: int) -> None:
    """Makes a user worthless from this moment (ms).  Raises ``NotFound``."""
    statement = update(users).where(_u.id == number, _u.password_hash.is_not(None), _kept).values(removed_at=at)
    if connection.execute(statement).rowcount == 0:
        raise NotFound("user", str(number))


def list_users(connection: Connection, page: int = 1, per_page: int = 20) -> tuple[list[UserRow], int]:
    """One page of the users with a password, and how many there are."""
    wanted = (_kept, _u.password_hash.is_not(None))
    total = connection.execute(select(func.count()).select_from(users).where(*wanted)).scalar_one()
    rows = connection.execute(select(*_u).where(*wanted).order_by(_u.id).limit(per_page).offset((page - 1) * per_page))
    return [UserRow(**row._mapping) for row in rows], total


def number_of(connection: Connection, principal_id: str, name: str, at: int) -> int:
    """The number of who is no user with a password, such as a token: given once, and kept."""
    values: dict[str, Json] = {
        "password_hash": None, "token_id": principal_id, "permissions": [], "created_at": at, "removed_at": None,
    }  # fmt: skip
    known = select(_u.id).where(_u.token_id == principal_id)
    for username in (name, f"{name} ({principal_id})"):
        found: int | None = connection.execute(known).scalar()
        if found is None:
            found = connection.execute(_INSERT_NEW[connection.dialect.name], {**values, "username": username}).scalar()
        if found is not None:
            return found
    number: int = connection.execute(known).scalar_one()
    return number


def is_anybody(connection: Connection) -> bool:
    """Whether there is a user with a password, or a token."""
    if connection.execute(select(_u.id).where(_kept, _u.password_hash.is_not(None)).limit(1)).first() is not None:
        return True
    return connection.execute(select(tokens.c.id).where(tokens.c.revoked_at.is_(None)).limit(1)).first() is not None
