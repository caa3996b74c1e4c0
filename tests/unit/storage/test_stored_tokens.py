"""Tokens, the audit trail, blobs."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from storage_rows import NOW, new_audit, new_token

from storage import audit, blobs, tokens
from storage.database import Database
from storage.errors import NotFound


def test_a_token_is_found_by_its_hash(database: Database) -> None:
    """With its permissions, and nothing revoked."""
    created = database.write_sync(tokens.create, new_token(expires_at=NOW + 1))
    found = database.read_sync(tokens.get_by_hash, "ab" * 32)
    assert found is not None
    assert (found.id, found.permissions, found.expires_at, found.revoked_at) == (
        created.id,
        ["asset:read", "playbook:read"],
        NOW + 1,
        None,
    )


def test_an_unknown_hash_is_none(database: Database) -> None:
    """No token has it."""
    assert database.read_sync(tokens.get_by_hash, "cd" * 32) is None


def test_a_revoked_token_says_so(database: Database) -> None:
    """It is still found, with the moment; revoking it again finds nothing to revoke."""
    database.write_sync(tokens.create, new_token())
    database.write_sync(tokens.revoke, "token-1", NOW + 3)
    found = database.read_sync(tokens.get_by_hash, "ab" * 32)
    assert found is not None
    assert found.revoked_at == NOW + 3
    with pytest.raises(NotFound):
        database.write_sync(tokens.revoke, "token-1", NOW + 4)


def test_tokens_are_listed_newest_first(database: Database) -> None:
    """In pages, revoked ones too."""
    for number in range(3):
        database.write_sync(tokens.create, new_token(id=f"t{number}", hash=str(number), created_at=NOW + number))
    database.write_sync(tokens.revoke, "t2", NOW)
    rows, total = database.read_sync(tokens.list_tokens, page=1, per_page=2)
    assert ([row.id for row in rows], total) == (["t2", "t1"], 3)


def test_an_audit_entry_reads_back(database: Database) -> None:
    """Every field is as it was appended."""
    database.write_sync(audit.append, new_audit())
    rows, total = database.read_sync(audit.list_audit)
    assert total == 1
    assert (rows[0].at, rows[0].actor_name, rows[0].address, rows[0].details) == (
        NOW,
        "ci",
        "192.0.2.9",
        {"name": "Automated patching"},
    )


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["b", "a"]),
        ({"actor": "token-1"}, ["a"]),
        ({"action": "asset.create"}, ["b"]),
        ({"object_type": "asset"}, ["b"]),
        ({"object_id": "o-1"}, ["a"]),
        ({"since": NOW + 1}, ["b"]),
        ({"since": NOW + 2}, []),
        ({"page": 2, "per_page": 1}, ["a"]),
    ],
)
def test_the_trail_is_listed_newest_first(database: Database, filters: dict[str, object], expected: list[str]) -> None:
    """By who, what, which object, and from when on."""
    first = new_audit(outcome="a", object_id="o-1")
    second = new_audit(
        at=NOW + 1, outcome="b", actor_id="token-2", action="asset.create", object_type="asset", object_id=None
    )
    database.write_sync(audit.append, first, second)
    rows, _ = database.read_sync(audit.list_audit, **filters)
    assert [row.outcome for row in rows] == expected


@pytest.mark.parametrize("statement", ["UPDATE audit SET outcome = 'ok'", "DELETE FROM audit"])
def test_the_trail_cannot_be_changed(database: Database, statement: str) -> None:
    """The database itself refuses, whoever asks."""
    database.write_sync(audit.append, new_audit(outcome="denied"))

    def tamper(connection: Connection) -> None:
        connection.execute(text(statement))

    with pytest.raises(DBAPIError, match="append-only"):
        database.write_sync(tamper)
    assert [row.outcome for row in database.read_sync(audit.list_audit)[0]] == ["denied"]


def test_a_blob_keeps_its_first_data(database: Database) -> None:
    """Bytes read back, and a repeated put changes nothing."""
    database.write_sync(blobs.put, {"b-1": b"\x00\xff", "b-3": b"x"}, NOW)
    database.write_sync(blobs.put, {"b-1": b"other"}, NOW + 1000)
    assert database.read_sync(blobs.get, ["b-1", "b-2", "b-3"]) == {"b-1": b"\x00\xff", "b-3": b"x"}
    assert database.write_sync(blobs.forget, NOW + 1) == 1
    assert database.read_sync(blobs.get, ["b-1", "b-3"]) == {"b-1": b"\x00\xff"}
