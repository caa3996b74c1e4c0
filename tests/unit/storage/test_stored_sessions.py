"""Sessions of the console, on both databases."""

from __future__ import annotations

from storage import sessions
from storage.database import Database
from storage.sessions import SessionRow


def session(name: str, created_at: int, expires_at: int) -> SessionRow:
    """A session that ends at ``expires_at``."""
    return SessionRow(id_hash=name, token_hash=f"token of {name}", created_at=created_at, expires_at=expires_at)


def test_session_is_kept_until_it_is_ended(database: Database) -> None:
    """A session is found by the hash of its cookie, and is gone when it was ended, also when ended twice."""
    first = session("first", 1_000, 2_000)
    database.write_sync(sessions.create, first)
    assert database.read_sync(sessions.get, "first") == first
    assert database.read_sync(sessions.get, "token of first") is None
    database.write_sync(sessions.remove, "first")
    database.write_sync(sessions.remove, "first")
    assert database.read_sync(sessions.get, "first") is None


def test_sessions_that_have_expired_are_dropped(database: Database) -> None:
    """Whoever signs in takes away the sessions that were over by then, and no other."""
    for name, expires_at in (("over", 5_000), ("under-way", 5_001)):
        database.write_sync(sessions.create, session(name, 1_000, expires_at))
    database.write_sync(sessions.create, session("new", 5_000, 9_000))
    found = [database.read_sync(sessions.get, name) for name in ("over", "under-way", "new")]
    assert [one.id_hash if one else None for one in found] == [None, "under-way", "new"]
