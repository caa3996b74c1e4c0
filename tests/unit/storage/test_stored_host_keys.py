"""Trusted host keys, on both databases."""

from __future__ import annotations

import asyncssh
import pytest

from activities.errors import ActionError
from engine.host_keys import DatabaseHostKeys
from storage import host_keys
from storage.database import Database
from storage.errors import DatabaseUnavailable, NotFound
from storage.host_keys import HostKeyRow, new_host_key


def public_key(kind: str = "ssh-ed25519") -> str:
    """The line of a ``.pub`` file."""
    return asyncssh.generate_private_key(kind).export_public_key().decode().strip()


def row(host: str = "web-01", port: int = 22, key: str | None = None) -> HostKeyRow:
    """A key that is to be trusted."""
    return new_host_key(host, port, key or public_key(), created_at=7, created_by="admin")


async def test_trusted_keys_are_found_by_place(database: Database) -> None:
    """Those of that host and port, whatever case the name is in; of no other."""
    first, second = row(), row()
    for new in (first, second, row(port=2222), row("web-02")):
        await database.write(host_keys.trust, new)
    store = DatabaseHostKeys(database)
    assert sorted(await store.keys_of("WEB-01.", 22)) == sorted([first.key, second.key])
    assert await store.keys_of("web-03", 22) == []


def test_the_same_key_again(database: Database) -> None:
    """It is kept once, with who trusted it first."""
    key = public_key()
    first, _ = database.write_sync(host_keys.trust, row(key=key))
    again, _ = database.write_sync(host_keys.trust, row(key=key))
    assert again == first
    assert database.read_sync(host_keys.list_host_keys) == ([first], 1)


def test_replace(database: Database) -> None:
    """The other keys of that place are forgotten, and told; those of another port stay."""
    old, new, other = row(), row(), row(port=2222)
    for one in (old, other):
        database.write_sync(host_keys.trust, one)
    assert database.write_sync(host_keys.trust, new, replace=True) == (new, [old.fingerprint])
    assert database.read_sync(host_keys.list_host_keys, host="web-01") == ([new, other], 2)


def test_forget(database: Database) -> None:
    """Once; the second time there is nothing to forget."""
    stored, _ = database.write_sync(host_keys.trust, row())
    assert database.write_sync(host_keys.forget, stored.id) == stored
    with pytest.raises(NotFound):
        database.write_sync(host_keys.forget, stored.id)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
def test_the_fingerprint_is_that_of_ssh(kind: str) -> None:
    """As another implementation of SSH shows it; a comment after the key is left out."""
    key = public_key(kind)
    stored = row(key=f"{key} root@web-01")
    assert stored.fingerprint == asyncssh.import_public_key(key).get_fingerprint()
    assert stored.key == " ".join(key.split()[:2])


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M=", "ssh-rsa x y"])
def test_no_key(key: str) -> None:
    """What is none is refused, before it is stored."""
    with pytest.raises(ValueError, match="key"):
        new_host_key("web-01", 22, key, created_at=1, created_by="admin")


async def test_a_database_that_is_away_is_no_missing_key(database: Database) -> None:
    """A step is told that it may try again, not that nobody has trusted the host."""

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("gone")

    store = DatabaseHostKeys(database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.host_keys.list_host_keys", away)
        with pytest.raises(ActionError) as told:
            await store.keys_of("web-01", 22)
    assert (told.value.code, told.value.retryable) == ("store_unavailable", True)
