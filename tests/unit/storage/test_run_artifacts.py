"""Artifacts of runs in the database: written again, refused, followed through reruns, gone with their run."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from storage import artifacts, executions
from storage.artifacts import NewArtifact
from storage.database import Database
from storage.errors import NotFound, NotKept, Taken
from tests.unit.storage.storage_rows import EXECUTION, NOW, new_execution, settlement


def new_artifact(**changes: Any) -> NewArtifact:
    """An HTML report of the first step."""
    values: dict[str, Any] = {
        "execution_id": EXECUTION,
        "name": "report.html",
        "step": "act-001",
        "media_type": "text/html",
        "created_at": NOW,
        "data": b"<p>\x00\xff",
    }
    return NewArtifact(**values | changes)


@pytest.fixture
def run(database: Database) -> Database:
    """A database with one run under way."""
    database.write_sync(executions.insert, new_execution())
    return database


def test_an_artifact_is_kept_byte_for_byte(run: Database) -> None:
    """What was put is read again, with its size and its hash."""
    row = run.write_sync(artifacts.put, new_artifact())
    assert (row.size, row.sha256) == (5, hashlib.sha256(b"<p>\x00\xff").hexdigest())
    assert run.read_sync(artifacts.get, EXECUTION, "report.html") == (row, b"<p>\x00\xff")
    assert run.read_sync(artifacts.summary, EXECUTION, "report.html") == row
    assert run.read_sync(artifacts.get, EXECUTION, "other") is None


def test_a_step_replaces_its_own(run: Database) -> None:
    """A retry of the step leaves one artifact, the later one."""
    run.write_sync(artifacts.put, new_artifact())
    later = run.write_sync(artifacts.put, new_artifact(data=b"later", created_at=NOW + 1))
    assert run.read_sync(artifacts.list_artifacts, EXECUTION) == [later]
    assert run.read_sync(artifacts.get, EXECUTION, "report.html") == (later, b"later")


def test_a_name_belongs_to_one_step(run: Database) -> None:
    """Another step, or another iteration of the same one, cannot take the name."""
    first = run.write_sync(artifacts.put, new_artifact())
    for step in ("act-002", "act-001.1"):
        with pytest.raises(Taken):
            run.write_sync(artifacts.put, new_artifact(step=step))
    assert run.read_sync(artifacts.list_artifacts, EXECUTION) == [first]


async def test_two_steps_at_once_cannot_both_have_the_name(run: Database) -> None:
    """Of two parallel branches one keeps its artifact, the other is told."""
    news = [new_artifact(step=f"act-00{n}", data=bytes([n])) for n in range(6)]
    results = await asyncio.gather(*(run.write(artifacts.put, new) for new in news), return_exceptions=True)
    kept = [result for result in results if not isinstance(result, BaseException)]
    assert [type(result) for result in results if isinstance(result, BaseException)] == [Taken] * 5
    assert await run.read(artifacts.list_artifacts, EXECUTION) == kept


def test_nothing_is_added_to_a_run_that_is_over(run: Database) -> None:
    """What an attempt that was left behind writes late is refused; an unknown run too."""
    run.write_sync(executions.settle, settlement(), NOW)
    with pytest.raises(NotKept, match="over"):
        run.write_sync(artifacts.put, new_artifact())
    with pytest.raises(NotFound):
        run.write_sync(artifacts.put, new_artifact(execution_id="exec-unknown"))


def test_a_run_keeps_so_much(run: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes and the number of a run's artifacts are bounded; replacing one does not count twice."""
    monkeypatch.setattr(artifacts, "RUN_BYTES", 10)
    monkeypatch.setattr(artifacts, "RUN_COUNT", 2)
    run.write_sync(artifacts.put, new_artifact(data=b"8 bytes."))
    run.write_sync(artifacts.put, new_artifact(data=b"10 bytes.."))
    with pytest.raises(NotKept, match="MiB"):
        run.write_sync(artifacts.put, new_artifact(name="b", data=b"x"))
    run.write_sync(artifacts.put, new_artifact(name="b", data=b""))
    with pytest.raises(NotKept, match="no more"):
        run.write_sync(artifacts.put, new_artifact(name="c", data=b""))


def test_a_rerun_finds_what_it_keeps(run: Database) -> None:
    """A rerun from the failed step finds the artifact of a kept step; one from the start does not."""
    kept = run.write_sync(artifacts.put, new_artifact())
    for number, origin in ((2, "failed"), (3, None)):
        again = new_execution(number, rerun_of=EXECUTION, rerun_from=origin)
        run.write_sync(executions.insert, again)
    found = run.read_sync(artifacts.find, "exec-2", "report.html")
    assert found is not None
    assert found[0] == kept
    assert run.read_sync(artifacts.find, "exec-3", "report.html") is None
    assert run.read_sync(artifacts.list_artifacts, "exec-2") == []


def test_artifacts_go_with_their_run(run: Database) -> None:
    """Where an execution is deleted, its artifacts are gone too."""
    run.write_sync(artifacts.put, new_artifact())
    assert run.write_sync(executions.discard, EXECUTION)
    assert run.read_sync(artifacts.list_artifacts, EXECUTION) == []
