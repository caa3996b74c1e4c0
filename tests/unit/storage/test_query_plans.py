"""The lists stay fast at a hundred thousand executions: what SQLite plans to do, asked of SQLite itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event
from storage_rows import NOW, new_execution

from playbooks.states import State
from storage import executions
from storage.database import Database


def plans(database: Database, query: Callable[..., Any], *args: Any, **kwargs: Any) -> list[list[str]]:
    """The lines of the plan of each statement that ``query`` executes."""
    statements: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    def explain(connection: Connection) -> list[list[str]]:
        event.listen(connection, "before_cursor_execute", note)
        query(connection, *args, **kwargs)
        event.remove(connection, "before_cursor_execute", note)
        return [
            [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in statements
        ]

    return database.read_sync(explain)


@pytest.fixture
def opened(sqlite_url: str) -> Database:
    """A database with a few executions."""
    database = Database(sqlite_url)
    for number in range(3):
        database.write_sync(executions.insert, new_execution(number))
    return database


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, None),
        ({"playbook_id": "pb"}, "ix_executions_playbook"),
        ({"playbook_id": "pb", "states": {State.FAILED}, "dry_run": True}, "ix_executions_playbook"),
        ({"asset_id": "a"}, "ix_executions_asset"),
        ({"states": {State.FAILED}}, "ix_executions_state"),
        ({"states": {State.RUNNING}}, "ix_executions_state"),
        ({"states": {State.FAILED}, "dry_run": False}, "ix_executions_state"),
        ({"dry_run": True}, "ix_executions_dry_run"),
    ],
)
def test_a_list_is_counted_and_found_in_an_index_alone(
    opened: Database, filters: dict[str, Any], index: str | None
) -> None:
    """Neither the count nor the search for the page touches a row or sorts; only the page's rows are read."""
    count, page = plans(opened, executions.list_executions, **filters)
    assert all("COVERING INDEX" in line for line in count)
    assert not any("TEMP B-TREE" in line for line in page)
    assert any(line.startswith("SEARCH executions USING INTEGER PRIMARY KEY") for line in page)
    assert index is None or f"USING COVERING INDEX {index}" in " ".join(count)
    assert index is None or f"USING COVERING INDEX {index}" in " ".join(page)
    opened.close()


def test_a_list_of_one_asset_and_playbook_goes_by_the_asset(opened: Database) -> None:
    """Without statistics SQLite would as soon walk every run of the playbook."""
    for plan in plans(opened, executions.list_executions, playbook_id="pb", asset_id="a"):
        assert "ix_executions_asset (asset_id=?)" in " ".join(plan)
    opened.close()


@pytest.mark.parametrize(
    ("query", "args", "expected"),
    [
        (executions.open_executions, (NOW, 10), "INDEX ix_executions_open"),
        (executions.has_open, ("pb",), "INDEX ix_executions_open"),
        (executions.get, ("exec-1",), "INDEX sqlite_autoindex_executions_1"),
        (executions.get_io, ("exec-1",), "SEARCH execution_io USING INTEGER PRIMARY KEY"),
    ],
)
def test_the_hot_reads_use_their_index(
    opened: Database, query: Callable[..., Any], args: tuple[object, ...], expected: str
) -> None:
    """One execution, and those that are open, are found without walking all."""
    (plan,) = plans(opened, query, *args)
    assert expected in " ".join(plan)
    assert not any(line == "SCAN executions" for line in plan)
    opened.close()
