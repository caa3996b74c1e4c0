"""Executions before they are final: the row, its key, lists, the sweep's view."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from storage_rows import ASSET, DONE, EXECUTION, NOW, PLAYBOOK, new_execution, settlement

from playbooks.states import State
from storage import executions
from storage.database import Database
from storage.executions import IdempotencyKey, Inserted, Repeated

KEY = IdempotencyKey("token-1", "key-1", "hash-1")


def insert_many(database: Database, *changes: dict[str, object]) -> None:
    """Insert executions exec-0, exec-1, … with these changes."""
    for number, change in enumerate(changes):
        database.write_sync(executions.insert, new_execution(number, **change))


def listed(database: Database, **filters: object) -> tuple[list[str], int]:
    """The ids of a list and its total."""
    rows, total = database.read_sync(executions.list_executions, **filters)
    return [row.id for row in rows], total


def test_a_new_execution_reads_back_as_it_was_written(database: Database) -> None:
    """What is inserted is what get answers, open and without a record."""
    database.write_sync(executions.insert, new_execution())
    row = database.read_sync(executions.get, EXECUTION)
    assert row is not None
    assert (row.parameters, row.asset["tags"]) == (
        {"notify_channel": "#ops", "patch_version": "2.4.1"},
        {"env": "prod"},
    )
    assert (row.dry_run, row.dry_run_reads, row.source, row.created_at) == (False, True, "api", NOW)
    assert (row.state, row.record, row.closed_at, row.outputs) == (None, None, None, None)


def test_an_unknown_execution_is_none(database: Database) -> None:
    """get and get_io of an id that is not there find nothing."""
    assert database.read_sync(executions.get, "exec-none") is None
    assert database.read_sync(executions.get_io, "exec-none") == {}


def test_an_id_with_a_nul_character_is_only_unknown(database: Database) -> None:
    """A character that Postgres refuses makes no error of its own."""
    assert database.read_sync(executions.get, "exec-\x00\ud800") is None


def test_numbers_rise_in_the_order_of_insertion(database: Database) -> None:
    """Each execution has a higher number than the one before, also after one was discarded."""
    first = database.write_sync(executions.insert, new_execution(1))
    second = database.write_sync(executions.insert, new_execution(2))
    database.write_sync(executions.discard, "exec-2")
    third = database.write_sync(executions.insert, new_execution(3))
    assert isinstance(first, Inserted)
    assert isinstance(second, Inserted)
    assert isinstance(third, Inserted)
    assert first.number < second.number < third.number


def test_a_repeated_key_inserts_nothing(database: Database) -> None:
    """The second insert with a key names the first execution and its body's hash."""
    database.write_sync(executions.insert, new_execution(1), KEY)
    again = database.write_sync(executions.insert, new_execution(2), IdempotencyKey("token-1", "key-1", "other"))
    assert again == Repeated("exec-1", "hash-1", NOW)
    assert database.read_sync(executions.get, "exec-2") is None


def test_a_key_belongs_to_its_principal(database: Database) -> None:
    """Another principal may use the same key."""
    database.write_sync(executions.insert, new_execution(1), KEY)
    other = database.write_sync(executions.insert, new_execution(2), IdempotencyKey("token-2", "key-1", "hash-1"))
    assert isinstance(other, Inserted)


def test_a_key_of_any_length_is_told_apart(database: Database) -> None:
    """Two long keys that differ at their end only are two keys."""
    keys = [IdempotencyKey("token-1", "k" * 10_000 + end, "hash") for end in "ab"]
    results = [database.write_sync(executions.insert, new_execution(n), key) for n, key in enumerate(keys)]
    assert [type(result) for result in results] == [Inserted, Inserted]


def test_of_simultaneous_inserts_with_one_key_one_wins(database_url: str) -> None:
    """Sixteen inserts at once on two pools: one execution, fifteen answers that name it."""
    databases = [Database(database_url), Database(database_url)]
    gate = threading.Barrier(16)

    def insert(number: int) -> Inserted | Repeated:
        gate.wait()
        return databases[number % 2].write_sync(executions.insert, new_execution(number), KEY)

    with ThreadPoolExecutor(16) as threads:
        results = list(threads.map(insert, range(16)))
    rows, total = databases[0].read_sync(executions.list_executions)
    for database in databases:
        database.close()
    assert total == 1
    assert [result for result in results if isinstance(result, Repeated)] == [Repeated(rows[0].id, "hash-1", NOW)] * 15


def test_a_discarded_execution_frees_its_key(database: Database) -> None:
    """After a refused start the same key starts anew."""
    database.write_sync(executions.insert, new_execution(1), KEY)
    assert database.write_sync(executions.discard, "exec-1") is True
    assert database.read_sync(executions.get, "exec-1") is None
    assert isinstance(database.write_sync(executions.insert, new_execution(2), KEY), Inserted)


def test_a_final_execution_is_never_discarded(database: Database) -> None:
    """discard leaves a settled run and its key alone."""
    database.write_sync(executions.insert, new_execution(), KEY)
    database.write_sync(executions.settle, settlement(), NOW)
    assert database.write_sync(executions.discard, EXECUTION) is False
    assert isinstance(database.write_sync(executions.insert, new_execution(2), KEY), Repeated)


def test_discarding_an_unknown_execution_is_false(database: Database) -> None:
    """There was nothing to delete."""
    assert database.write_sync(executions.discard, "exec-none") is False


def test_old_keys_are_forgotten(database: Database) -> None:
    """Keys from before the moment go, that of the moment itself stays."""
    for number, at in enumerate((NOW - 1, NOW)):
        key = IdempotencyKey("token-1", f"key-{number}", "hash")
        database.write_sync(executions.insert, new_execution(number, created_at=at), key)
    assert database.write_sync(executions.forget_keys, NOW) == 1
    assert isinstance(
        database.write_sync(executions.insert, new_execution(7), IdempotencyKey("token-1", "key-1", "hash")), Repeated
    )


def test_lists_are_newest_first_in_pages(database: Database) -> None:
    """The second page of two goes on where the first ended; the total counts all."""
    insert_many(database, *[{} for _ in range(5)])
    assert listed(database, page=1, per_page=2) == (["exec-4", "exec-3"], 5)
    assert listed(database, page=3, per_page=2) == (["exec-0"], 5)
    assert listed(database, page=4, per_page=2) == ([], 5)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"playbook_id": "pb-x"}, ["exec-1"]),
        ({"asset_id": "asset-x"}, ["exec-2"]),
        ({"dry_run": True}, ["exec-2", "exec-1"]),
        ({"dry_run": False}, ["exec-3", "exec-0"]),
        ({"playbook_id": PLAYBOOK, "asset_id": ASSET, "dry_run": False}, ["exec-3", "exec-0"]),
        ({"states": {State.COMPLETED}}, ["exec-3"]),
        ({"states": {State.FAILED}}, []),
        ({"states": {State.RUNNING}}, ["exec-2", "exec-1", "exec-0"]),
        ({"states": {State.PENDING, State.COMPLETED}}, ["exec-3", "exec-2", "exec-1", "exec-0"]),
        ({"states": {State.COMPLETED, State.FAILED}}, ["exec-3"]),
        ({"states": set()}, []),
        ({"open_only": True}, ["exec-2", "exec-1", "exec-0"]),
        ({"open_only": False}, ["exec-3"]),
        ({"playbook_id": PLAYBOOK, "states": {State.COMPLETED}, "dry_run": True}, []),
    ],
)
def test_lists_filter(database: Database, filters: dict[str, object], expected: list[str]) -> None:
    """Each filter alone and with others keeps exactly what it names, in rows and total."""
    insert_many(database, {}, {"playbook_id": "pb-x", "dry_run": True}, {"asset_id": "asset-x", "dry_run": True}, {})
    database.write_sync(executions.settle, settlement(execution_id="exec-3"), NOW)
    assert listed(database, **filters) == (expected, len(expected))


def test_a_list_shows_the_record_of_a_final_run(database: Database) -> None:
    """A row of a list carries the compact steps."""
    database.write_sync(executions.insert, new_execution())
    database.write_sync(executions.settle, settlement(steps=[DONE]), NOW)
    rows, _ = database.read_sync(executions.list_executions)
    assert rows[0].record == [DONE]


def test_the_sweep_sees_what_has_not_closed_oldest_first(database: Database) -> None:
    """Closed and too young executions are left out; pages go on by number."""
    insert_many(database, {}, {}, {}, {}, {"created_at": NOW + 10})
    database.write_sync(executions.settle, settlement(execution_id="exec-1"), NOW)
    page = database.read_sync(executions.open_executions, NOW + 10, 2)
    rest = database.read_sync(executions.open_executions, NOW + 10, 2, page[-1].number)
    assert [[row.id for row in rows] for rows in (page, rest)] == [["exec-0", "exec-2"], ["exec-3"]]


def test_a_frozen_execution_is_open_for_the_sweep(database: Database) -> None:
    """A cancelled run whose workflow has not closed must still be looked after, and holds its playbook."""
    database.write_sync(executions.insert, new_execution())
    database.write_sync(
        executions.freeze_cancelled,
        EXECUTION,
        record=[["x"]],
        at=NOW,
        by="ada",
        reason=None,
        started_at=None,
        finished_at=NOW,
    )
    assert [row.id for row in database.read_sync(executions.open_executions, NOW + 1, 10)] == [EXECUTION]
    assert database.read_sync(executions.has_open, PLAYBOOK) is True
    assert listed(database, open_only=True) == ([], 0)


def test_has_open_is_about_one_playbook(database: Database) -> None:
    """An open run counts for its own playbook, and no longer once it has closed."""
    database.write_sync(executions.insert, new_execution())
    assert database.read_sync(executions.has_open, "pb-other") is False
    assert database.read_sync(executions.has_open, PLAYBOOK) is True
    database.write_sync(executions.settle, settlement(), NOW)
    assert database.read_sync(executions.has_open, PLAYBOOK) is False
