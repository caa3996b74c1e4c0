"""The truth about a run, with parts of the house gone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError

from api.executions import Executions
from api.metrics import Metrics
from api.retention import Retention
from api.sweep import sweep
from engine.sealing import Sealer
from storage import blobs, executions
from storage.executions import NewExecution
from tests.stack import Stack, running_stack, serving, stack_settings, states

ECHO = {"action_ref": "core.echo", "parameters": {"x": 1}}
SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}


async def test_status_stays_readable_with_every_worker_down(stack: Stack) -> None:
    """What a run had reached is told without a worker."""
    execution = await stack.start([ECHO, {"type": "delay", "name": "Wait", "duration": "1h"}, ECHO])
    await stack.until_step(execution, 1, "running")
    await stack.stop_worker()
    status = await stack.status(execution)
    assert (status["status"], states(status)) == ("running", ["completed", "running", "pending"])


async def test_io_without_a_worker_is_told_to_be_missing(stack: Stack) -> None:
    """The status with `include=io` answers all the same, and says that inputs and outputs cannot be read."""
    execution = await stack.start([{"type": "delay", "name": "Wait", "duration": "1h"}])
    await stack.until_step(execution, 0, "running")
    await stack.stop_worker()
    status = await stack.status(execution, include="io")
    assert (status["status"], status["io_available"]) == ("running", False)


async def test_a_settled_run_needs_no_temporal(tmp_path: Path, stack: Stack) -> None:
    """A settled run is read, listed and compared from the database, with Temporal out of reach."""
    execution = await stack.start([ECHO])
    before = await stack.finish(execution)
    lost = stack.settings.model_copy(update={"temporal_address": "127.0.0.1:9"})
    async with serving(lost) as url:
        after = (await stack.http.get(f"{url}/api/playbooks/executions/{execution}?include=io")).json()
        listed = (await stack.http.get(f"{url}/api/playbooks/executions")).json()
    assert after == before
    assert [entry["status"] for entry in listed["data"]] == ["completed"]


async def test_an_end_that_is_not_written_down_yet_is_not_told(stack: Stack) -> None:
    """While the database takes no writes the run reads `running`, though its last step has ended."""
    step = {"id": "first", "action_ref": "core.sleep", "parameters": {"seconds": 1}}
    execution = await stack.start([step], outputs={"slept": "{{ steps.first.output.slept }}"})
    await stack.until_step(execution, 0, "running")
    file = stack.settings.data_dir / "stanchion.sqlite"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status = await stack.until_step(execution, 0, "completed")
        other.execute("ROLLBACK")
    assert (status["status"], status["finished_at"]) == ("running", None)
    done = await stack.finish(execution)
    assert (done["status"], done["outputs"]) == ("completed", {"slept": 1})


async def test_with_temporal_away_nothing_starts(tmp_path: Path, stack: Stack) -> None:
    """503 names Temporal, with Retry-After, and leaves no execution behind."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    lost = stack.settings.model_copy(update={"temporal_address": "127.0.0.1:9"})
    async with serving(lost) as url:
        answer = await stack.http.post(
            f"{url}/api/playbooks/{playbook['id']}/run", json={"target_asset_id": asset["id"]}
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "temporal" in answer.json()["error"]["details"][0]["message"]
    assert (await stack.http.get("/api/playbooks/executions")).json()["data"] == []


async def test_a_settled_run_survives_the_loss_of_its_history(stack: Stack) -> None:
    """Temporal drops the history; the execution reads as before."""
    execution = await stack.start([ECHO])
    before = await stack.finish(execution)
    await _delete_history(stack, before)
    assert await stack.status(execution, include="io") == before


async def test_a_run_whose_history_is_lost_is_settled(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that Temporal no longer knows is failed, and so is each of its steps: nobody knows what they did."""
    monkeypatch.setattr("executions.truth.START_WINDOW_MS", 0)
    execution = await stack.start([ECHO, SLEEP])
    status = await stack.until_step(execution, 1, "running")
    await stack.stop_worker()
    await _delete_history(stack, status)
    status = await stack.status(execution)
    assert (status["status"], status["error"]["code"], states(status)) == (
        "failed",
        "history_lost",
        ["failed", "failed"],
    )


async def test_the_sweep_settles_what_nobody_reads(tmp_path: Path) -> None:
    """A run that was terminated in Temporal is settled in the database by the sweep."""
    async with running_stack(stack_settings(tmp_path, sweep_interval=0.2)) as stack:
        execution = await stack.start([SLEEP])
        status = await stack.until_step(execution, 0, "running")
        await stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"]).terminate(reason="enough")
        async with asyncio.timeout(60):
            while (row := await stack.database.read(executions.get, execution)) is None or row.closed_at is None:
                await asyncio.sleep(0.1)
        assert row.state == "cancelled"


async def test_the_sweep_forgets_what_nothing_refers_to(stack: Stack, tmp_path: Path) -> None:
    """Old keys and payloads go; those that the history of an open run may refer to stay."""
    service = Executions.build(stack.settings, stack.database, stack.temporal)
    await stack.database.write(blobs.put, {"old": b"x"}, 0)
    await stack.start([ECHO], run={"headers": {"Idempotency-Key": "old"}})
    execution = await stack.start([SLEEP])
    row = await stack.database.read(executions.get, execution)
    assert row is not None
    day = 86_400_000
    await stack.database.write(blobs.put, {"kept": b"x"}, row.created_at)
    settings = stack_settings(tmp_path, temporal_retention_days=3)
    retention = Retention(service, settings, Sealer(), Metrics(), lambda: row.created_at + 100 * day)
    await retention.apply()
    assert set(await stack.database.read(blobs.get, ["old", "kept"])) == {"kept"}
    assert await stack.database.write(executions.forget_keys, row.created_at + 100 * day) == 0
    await stack.cancel(execution)
    await stack.finish(execution)
    await retention.apply()
    assert await stack.database.read(blobs.get, ["kept"]) == {}


async def test_a_row_whose_start_was_lost_is_pending_and_then_settled(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API died between the row and Temporal: the run reads pending for a while, then failed, for ever."""
    execution = await stack.start([ECHO])
    row = await stack.database.read(executions.get, execution)
    assert row is not None
    lost = NewExecution(
        id=f"exec-{uuid.uuid4()}",
        created_at=row.created_at,
        created_by="admin",
        playbook_id=row.playbook_id,
        revision=1,
        asset_id="elsewhere",
        asset={**row.asset, "id": "elsewhere"},
        parameters={},
        dry_run=False,
        workflow_id=f"{row.playbook_id}:elsewhere",
    )
    await stack.database.write(executions.insert, lost)
    assert (await stack.status(lost.id))["status"] == "pending"
    monkeypatch.setattr("executions.truth.START_WINDOW_MS", 0)
    assert (await stack.status(lost.id))["status"] == "failed"


async def test_a_later_run_of_the_same_pair_does_not_hide_the_earlier_one(stack: Stack) -> None:
    """A terminated run is told apart from the one that took its workflow id since."""
    playbook, asset = await stack.playbook([SLEEP]), await stack.asset()
    first = (await stack.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    status = await stack.until_step(first, 0, "running")
    await stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"]).terminate(reason="enough")
    second = (await stack.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    async with asyncio.timeout(60):
        while (status := await stack.status(first))["status"] == "running":
            await asyncio.sleep(0.1)
    assert status["status"] == "cancelled"
    assert (await stack.status(second))["status"] in {"pending", "running"}
    await stack.cancel(second)


async def test_editing_a_playbook_does_not_change_a_run(idle_stack: Stack) -> None:
    """A run goes on with the revision that it began with; the next one takes the new one."""
    stack = idle_stack
    playbook, asset = await stack.playbook([ECHO], name="Edited"), await stack.asset()
    execution = (await stack.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    changed = {"name": "Edited", "steps": [ECHO, ECHO, ECHO]}
    assert (await stack.http.put(f"/api/playbooks/{playbook['id']}", json=changed)).status_code == 200
    await stack.start_worker()
    status = await stack.finish(execution)
    assert (status["revision"], len(status["steps"])) == (1, 1)
    execution = (await stack.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    status = await stack.finish(execution)
    assert (status["revision"], len(status["steps"])) == (2, 3)


async def test_in_the_web_ui_a_run_is_what_it_is(stack: Stack) -> None:
    """Workflow type, search attributes and summaries name playbook, asset, execution and steps."""
    steps = [{"name": "Wait a moment", "action_ref": "core.sleep", "parameters": {"seconds": 0}}]
    execution = await stack.start(steps, name="Named Playbook")
    status = await stack.finish(execution)
    handle = stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"])
    described = await handle.describe()
    assert described.workflow_type == "named-playbook"
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert {name: attributes[name] for name in ("PlaybookId", "ExecutionId", "DryRun", "Outcome")} == {
        "PlaybookId": status["playbook_id"],
        "ExecutionId": execution,
        "DryRun": False,
        "Outcome": "completed",
    }
    assert await described.static_summary() == "Named Playbook on web-01"
    assert execution in (await described.static_details() or "")
    scheduled = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [(event.activity_type.name, event.activity_id) for event in scheduled] == [("core.sleep", "act-001")]


async def _delete_history(stack: Stack, status: dict[str, Any]) -> None:
    identity = WorkflowExecution(
        workflow_id=status["temporal"]["workflow_id"], run_id=status["temporal"]["run_id"] or ""
    )
    await stack.temporal.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(namespace="default", workflow_execution=identity)
    )
    handle = stack.temporal.get_workflow_handle(identity.workflow_id, run_id=identity.run_id)
    async with asyncio.timeout(90):
        while True:
            try:
                await handle.describe(rpc_timeout=timedelta(seconds=5))
            except RPCError:
                return
            await asyncio.sleep(0.1)


async def test_one_row_that_cannot_be_read_keeps_no_other_from_being_settled(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep says so in the log and goes on behind it, and what is old is deleted all the same."""
    for module in ("executions.truth", "api.sweep"):
        monkeypatch.setattr(f"{module}.START_WINDOW_MS", 0)
    monkeypatch.setattr("api.sweep.YOUNG_MS", -60_000)
    stored = await stack.playbook([ECHO])
    values: dict[str, Any] = {"asset_id": "a", "asset": {"id": "a"}, "created_at": 1, "created_by": "t"}
    values |= {"parameters": {}, "dry_run": False, "playbook_id": stored["id"]}
    for number, revision in enumerate((99, 1)):
        key = f"exec-{uuid.uuid4()}"
        new = NewExecution(id=key, revision=revision, workflow_id=key, **values)
        await stack.database.write(executions.insert, new)
        values["created_at"] = 2 + number
    service = Executions.build(stack.settings, stack.database, stack.temporal)
    assert await sweep(service) == 2
    row = await stack.database.read(executions.get, key)
    assert row is not None
    assert row.state == "failed"
