"""What is old is forgotten with everything that is its own; what is needed yet stays, however old."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text

from storage import artifacts, executions, settlement
from storage.artifacts import NewArtifact
from storage.database import Database
from storage.executions import IdempotencyKey, Inserted, Repeated
from storage.phantom import runs as phantom_runs
from storage.phantom.tables import metadata
from storage.retention import forget_executions
from tests.unit.storage.storage_rows import NOW, new_execution
from tests.unit.storage.storage_rows import settlement as ending

DAY = 86_400_000
OWN = ("executions", "execution_io", "run_artifacts", "idempotency_keys", "phantom_runs")


def put(database: Database, number: int, closed: int | None, **changes: Any) -> str:
    """An execution of day ``number`` that closed on day ``closed``, with everything that one can have."""
    new = new_execution(number, created_at=NOW + number * DAY, **changes)

    def write(connection: Connection) -> None:
        inserted = executions.insert(connection, new, IdempotencyKey("token-1", f"key-{number}", "hash"))
        assert isinstance(inserted, Inserted)
        artifacts.put(
            connection,
            NewArtifact(
                execution_id=new.id, name="a.txt", step="act-001", media_type="text/plain", created_at=NOW, data=b"x"
            ),
        )
        run: dict[str, Any] = {"number": inserted.number, "container": 1, "scope": "all", "last_artifact": 0}
        phantom_runs.add(connection, run)
        if closed is not None:
            at = NOW + closed * DAY
            settlement.settle(connection, ending(execution_id=new.id, started_at=at - 9, finished_at=at), at)

    database.write_sync(write)
    return new.id


def left(database: Database) -> list[str]:
    """The executions that are there, by number."""
    rows = text("SELECT id FROM executions ORDER BY number")
    return list(database.read_sync(lambda connection: connection.execute(rows).scalars().all()))


def rows_of(database: Database) -> dict[str, int]:
    """How many rows there are of what belongs to executions."""

    def count(connection: Connection) -> dict[str, int]:
        return {
            name: connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar_one()
            for name in OWN
        }

    return database.read_sync(count)


def apply(database: Database, day: int, **options: int) -> int:
    """Forgets what closed before this day; how many they were."""
    count, after = 0, 0
    while True:
        found = database.write_sync(forget_executions, NOW + day * DAY, after, **options)
        count += found.count
        if found.after is None:
            return count
        after = found.after


@pytest.mark.parametrize("at_most", [1, 2, 500])
def test_what_is_old_goes_with_all_that_is_its_own(database: Database, at_most: int) -> None:
    """In batches of any size; what is younger stays whole."""
    names = [put(database, number, number + 1) for number in range(6)]
    assert apply(database, 4, at_most=at_most) == 3
    assert left(database) == names[3:]
    assert rows_of(database) == dict.fromkeys(OWN, 3)
    assert apply(database, 4, at_most=at_most) == 0


@pytest.mark.parametrize("at_most", [1, 500])
def test_a_run_that_is_open_stays_however_old(database: Database, at_most: int) -> None:
    """Also one that reads cancelled and has not closed; and it does not keep younger ones from going."""
    running, cancelled, done = put(database, 0, None), put(database, 1, None), put(database, 2, 3)
    frozen = {"record": [["x"], ["x"]], "by": "a", "reason": None, "started_at": None}
    database.write_sync(settlement.freeze_cancelled, cancelled, at=NOW, finished_at=NOW, **frozen)
    assert apply(database, 1000, at_most=at_most) == 1
    assert left(database) == [running, cancelled]
    assert done not in left(database)


def test_a_run_is_old_by_its_end(database: Database) -> None:
    """One that has taken long is as old as its end."""
    put(database, 0, 50)
    assert apply(database, 50) == 0
    assert apply(database, 51) == 1


def test_a_sub_playbook_stays_as_long_as_what_started_it(database: Database) -> None:
    """The parent is open: what its step refers to is there."""
    parent = put(database, 0, None)
    child = put(database, 1, 2, parent_id=parent, parent_step="act-001")
    orphan = put(database, 2, 3, parent_id="exec-gone", parent_step="act-001")
    assert apply(database, 1000) == 1
    assert left(database) == [parent, child]
    assert orphan not in left(database)
    at = NOW + 3 * DAY
    database.write_sync(settlement.settle, ending(execution_id=parent, started_at=at, finished_at=at), at)
    assert apply(database, 1000) == 2


def test_what_was_run_again_stays_as_long_as_its_rerun(database: Database) -> None:
    """A rerun refers to the artifacts that it has kept: the original goes after it."""
    first = put(database, 0, 1)
    again = put(database, 9, 10, rerun_of=first, rerun_from="failed")
    assert apply(database, 5) == 0
    assert apply(database, 11) == 1
    assert left(database) == [first]
    assert apply(database, 11) == 1
    assert again not in left(database)


def test_a_key_goes_with_its_execution_and_that_of_a_hook_stays(database: Database) -> None:
    """A key is free again; a delivery of a hook is known as long as before, so that no replay starts anything."""
    hook = IdempotencyKey("hook:1", "delivery-1", "hash")
    database.write_sync(executions.insert, new_execution(100, created_at=NOW), hook)
    database.write_sync(settlement.settle, ending(execution_id="exec-100", started_at=NOW, finished_at=NOW), NOW)
    put(database, 1, 2)
    assert apply(database, 1000) == 2
    again = database.write_sync(executions.insert, new_execution(200), IdempotencyKey("token-1", "key-1", "other"))
    assert isinstance(again, Inserted)
    assert database.write_sync(executions.insert, new_execution(201), hook) == Repeated("exec-100", "hash", NOW)


def test_looking_ends_where_everything_is_young(database: Database) -> None:
    """The youngest of many executions are not looked at every hour."""
    for number in range(10):
        put(database, number, number)
    found = database.write_sync(forget_executions, NOW, 0, 3)
    assert (found.count, found.after) == (0, None)
