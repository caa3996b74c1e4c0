"""The audit trail as a chain: what is changed behind its back is found, and what is old is let go without a break."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text
from storage_rows import NOW, new_audit

from engine.sealing import Sealer
from storage import audit
from storage.audit_chain import CHECKPOINT, Chain, forget, verify
from storage.database import Database
from storage.migrate import migrate

KEYS = (b"k" * 32, b"o" * 32)
OPEN, SEALED = Sealer(), Sealer(KEYS)


def check(database: Database, sealer: Sealer = OPEN, expected: tuple[int, str] | None = None) -> Chain:
    """What a verification finds."""
    return database.read_sync(verify, lambda told, signed: sealer.is_signed(told, CHECKPOINT, signed), expected)


def fill(database: Database, count: int) -> None:
    """Writes entries, one a transaction, each a second younger than the one before."""
    for number in range(count):
        database.write_sync(audit.append, new_audit(at=NOW + number * 1000, object_id=f"o-{number}"))


def let_go(database: Database, before: int, sealer: Sealer = OPEN, **options: int) -> int:
    """Forgets what is older than ``before`` seconds after NOW."""
    return database.write_sync(
        forget, NOW + before * 1000, NOW + 60_000, lambda told: sealer.sign(told, CHECKPOINT), **options
    )


def behind_its_back(database: Database, *statements: str) -> None:
    """What somebody does who owns the database: no trigger stands in the way."""

    def act(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER USER"))
        else:
            connection.execute(text("DROP TRIGGER audit_refuses_update"))
            connection.execute(text("DROP TRIGGER audit_refuses_delete"))
        for statement in statements:
            connection.execute(text(statement))
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit ENABLE TRIGGER USER"))

    database.write_sync(act)


def ids(database: Database) -> list[int]:
    """The ids of the entries, oldest first."""
    return [row.id for row in database.read_sync(audit.list_audit, per_page=500)[0]][::-1]


def test_an_empty_trail_is_whole(database: Database) -> None:
    """Nothing was written, nothing is missing."""
    assert check(database) == Chain(entries=0, last_id=None, hash="")


def test_a_trail_is_whole(database: Database) -> None:
    """Also over the pages in which it is read, with what is not plain text, and without a value."""
    odd = new_audit(actor_name="Zoë \x00\ud800 “x”", object_id=None, address=None, details={"ü": [1.5, None, "a\x00"]})
    database.write_sync(audit.append, odd, replace(odd, details=None), replace(odd, object_id="", details=""))
    database.write_sync(audit.append, *(new_audit(object_id=str(number)) for number in range(2100)))
    found = check(database)
    assert (found.is_whole, found.entries) == (True, 2103)
    rows, _ = database.read_sync(audit.list_audit, per_page=1)
    assert found.hash == rows[0].hash


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET outcome = 'ok!' WHERE object_id = 'o-3'", 3),
        ("UPDATE audit SET details = '{}' WHERE object_id = 'o-0'", 0),
        ("UPDATE audit SET at = at - 1 WHERE object_id = 'o-3'", 3),
        ("UPDATE audit SET address = NULL WHERE object_id = 'o-3'", 3),
        ("UPDATE audit SET actor_id = actor_id || actor_name, actor_name = '' WHERE object_id = 'o-3'", 3),
        ("UPDATE audit SET hash = 'x' WHERE object_id = 'o-3'", 3),
        ("DELETE FROM audit WHERE object_id = 'o-0'", 1),
        ("DELETE FROM audit WHERE object_id = 'o-3'", 4),
        ("DELETE FROM audit WHERE object_id IN ('o-3', 'o-4', 'o-5')", 2),
        ("INSERT INTO audit SELECT id + 100, at, actor_id, actor_name, action, object_type, object_id, outcome, "
         "address, details, hash FROM audit WHERE object_id = 'o-2'", None),
    ],
)  # fmt: skip
def test_a_change_is_found(database: Database, statement: str, broken: int | None) -> None:
    """The first entry that is not as it was written is named, also where the newest ones are missing."""
    fill(database, 6)
    numbers = ids(database)
    behind_its_back(database, statement)
    found = check(database)
    assert not found.is_whole
    assert found.broken_id == (numbers[2] + 100 if broken is None else numbers[broken])


def test_a_trail_without_entries_is_missed(database: Database) -> None:
    """Who takes out everything leaves the head."""
    fill(database, 3)
    behind_its_back(database, "DELETE FROM audit")
    assert check(database).fault == "the entries after it were taken out"


def test_a_trail_that_was_written_anew_is_found_by_a_hash_from_before(database: Database) -> None:
    """The owner of a database can write a chain of their own; what was kept elsewhere tells."""
    fill(database, 4)
    rows, _ = database.read_sync(audit.list_audit)
    kept = (rows[1].id, rows[1].hash)
    assert check(database, expected=kept).is_whole
    behind_its_back(database, "DELETE FROM audit", "UPDATE audit_head SET hash = ''")
    fill(database, 4)
    assert check(database).is_whole
    assert not check(database, expected=kept).is_whole
    assert check(database, expected=(10**6, "0" * 64)).fault == "entry 1000000, which is expected, is not there"


def test_writers_at_once_make_one_chain(database: Database, database_url: str) -> None:
    """Two processes with several connections each: every entry is in it, once, and some transactions are taken back."""
    other = Database(database_url, pool_size=4)

    def fails(connection: Connection) -> None:
        audit.append(connection, new_audit(object_id="lost"))
        raise RuntimeError

    def write(where: Database, name: int) -> None:
        for number in range(25):
            where.write_sync(audit.append, *(new_audit(object_id=f"{name}-{number}-{part}") for part in range(2)))
            with pytest.raises(RuntimeError):
                where.write_sync(fails)

    threads = [threading.Thread(target=write, args=(one, name)) for name, one in enumerate((database, other) * 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    found = check(database)
    assert (found.is_whole, found.entries) == (True, 6 * 25 * 2)


def test_what_is_written_past_the_program_is_chained_on_postgres(postgres_url: str) -> None:
    """A process of the version before knows of no hash: its entries stand in the chain like any others."""
    database = Database(postgres_url, pool_size=1)
    fill(database, 2)
    old = text(
        "INSERT INTO audit (at, actor_id, actor_name, action, object_type, outcome) VALUES (1, 'a', 'é', 'c', 'd', 'e')"
    )
    database.write_sync(lambda connection: connection.execute(old).close())
    fill(database, 1)
    assert (check(database).is_whole, check(database).entries) == (True, 4)
    database.close()


def test_what_is_old_goes_and_the_chain_holds(database: Database) -> None:
    """In batches; an entry of the trail says what went, and the chain goes on from there."""
    fill(database, 10)
    numbers = ids(database)
    assert [let_go(database, 7, at_most=4) for _ in range(3)] == [4, 3, 0]
    found = check(database)
    assert (found.is_whole, found.forgotten_through, found.entries) == (True, numbers[6], 5)
    fill(database, 1)
    assert check(database).is_whole
    assert [row.details["entries"] for row in database.read_sync(audit.list_audit, action="audit.forget")[0]] == [3, 4]


def test_everything_may_be_old(database: Database) -> None:
    """Then the checkpoint alone is left, which goes with the next one."""
    fill(database, 3)
    assert let_go(database, 50) == 3
    assert (check(database).is_whole, check(database).entries) == (True, 1)
    assert let_go(database, 100) == 1
    assert (check(database).is_whole, check(database).entries) == (True, 1)


def test_an_old_entry_behind_a_younger_one_stays(database: Database) -> None:
    """What goes is the beginning of the chain, never a piece of it."""
    for at in (1, 9, 1):
        database.write_sync(audit.append, new_audit(at=NOW + at * 1000))
    assert let_go(database, 5) == 1
    assert check(database).entries == 3


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET outcome = 'ok'", "DELETE FROM audit", "DELETE FROM audit WHERE object_id = 'o-9'"]
)
def test_nothing_else_may_go(database: Database, statement: str) -> None:
    """After something was forgotten, the rest is still refused to every connection."""
    fill(database, 10)
    let_go(database, 5)
    with pytest.raises(Exception, match="append-only"):
        database.write_sync(lambda connection: connection.execute(text(statement)).close())
    assert check(database).is_whole


def test_what_was_forgotten_by_hand_is_found(database: Database) -> None:
    """More went than the checkpoint says."""
    fill(database, 10)
    let_go(database, 5)
    behind_its_back(database, "DELETE FROM audit WHERE object_id IN ('o-5', 'o-6')")
    assert not check(database).is_whole


def test_a_checkpoint_is_signed(database: Database) -> None:
    """With a key, also after it was rotated; without, or with another, it is no checkpoint."""
    fill(database, 10)
    let_go(database, 5, Sealer(KEYS[1:]))
    assert check(database, SEALED).is_whole
    assert "not signed" in str(check(database, Sealer((b"x" * 32,))).fault)
    let_go(database, 6, OPEN)
    assert "not signed" in str(check(database, SEALED).fault)
    let_go(database, 7, SEALED)
    assert check(database, SEALED).is_whole


def test_a_migrated_trail_is_whole(database: Database, database_url: str) -> None:
    """Migrating again leaves the chain as it is."""
    fill(database, 3)
    migrate(database_url)
    assert check(database).entries == 3
