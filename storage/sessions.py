"""Sessions of the console: who is signed in in which browser.

Neither the value of the cookie nor the token is here, only their hashes: what stands in the database opens nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from sqlalchemy import Connection, bindparam, delete, insert, select

from storage.tables import console_sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session; times in ms since the epoch."""

    id_hash: str
    token_hash: str
    created_at: int
    expires_at: int


_s = console_sessions.c
_INSERT = insert(console_sessions)
_GET = select(*[_s[field.name] for field in fields(SessionRow)]).where(_s.id_hash == bindparam("wanted"))
_REMOVE = delete(console_sessions).where(_s.id_hash == bindparam("wanted"))
_REMOVE_EXPIRED = delete(console_sessions).where(_s.expires_at <= bindparam("at"))


def create(connection: Connection, session: SessionRow) -> None:
    """Store a session, and drop those that had expired when it was created."""
    connection.execute(_REMOVE_EXPIRED, {"at": session.created_at})
    connection.execute(_INSERT, asdict(session))


def get(connection: Connection, id_hash: str) -> SessionRow | None:
    """The session, or None; whether it has expired is for the caller to see."""
    row = connection.execute(_GET, {"wanted": id_hash}).one_or_none()
    return None if row is None else SessionRow(**row._asdict())


def remove(connection: Connection, id_hash: str) -> None:
    """End a session; one that is not there has ended already."""
    connection.execute(_REMOVE, {"wanted": id_hash})
