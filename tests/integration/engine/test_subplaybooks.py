"""Sub-playbooks: runs of their own, pinned with their parent, under the same rules."""

from __future__ import annotations

import asyncio
import threading
import uuid
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection
from temporalio.api.enums.v1 import EventType
from temporalio.common import RetryPolicy

import workflows.steps.playbook
from engine import records
from storage import executions, playbooks
from storage.errors import DatabaseUnavailable
from storage.executions import NewExecution
from tests.integration.engine.test_blocks import by_id, echo, fails, sleeps, statuses
from tests.stack import Stack

EXECUTIONS = "/api/playbooks/executions"


def calls(playbook: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A step that runs ``playbook``."""
    return {"id": "sub", "type": "playbook", "playbook": playbook["slug"], **fields}


async def child_of(stack: Stack, execution: str) -> dict[str, Any]:
    """The execution that the step ``sub`` has started, once it has."""
    async with asyncio.timeout(60):
        while not (child := by_id(await stack.status(execution))["sub"].get("execution_id")):
            await asyncio.sleep(0.02)
    return await stack.status(child)


async def test_it_runs_as_a_run_of_its_own(stack: Stack) -> None:
    """It has an execution id, linked both ways, its parameters, and its outputs come back."""
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}, "m": {"default": 5}}}
    child = await stack.playbook(
        [echo("double", n="{{ parameters.n * 2 + parameters.m }}")],
        parameters=schema,
        outputs={"n": "{{ steps.double.output.n }}"},
    )
    parent = await stack.start([echo("a", n=3), calls(child, parameters={"n": "{{ steps.a.output.n }}"}), echo("z")])
    done = await stack.finish(parent)
    step = by_id(done)["sub"]
    assert step["output"] == {"execution_id": step["execution_id"], "state": "completed", "outputs": {"n": 11}}
    inner = await stack.status(step["execution_id"])
    assert (inner["status"], inner["source"], inner["parameters"]) == ("completed", "playbook", {"n": 3, "m": 5})
    assert inner["parent"] == {"execution_id": parent, "action_id": "sub"}
    assert (inner["target_asset_id"], done["parent"]) == (done["target_asset_id"], None)


async def test_its_failure_comes_up(stack: Stack) -> None:
    """With its code, and the step handles it like every failure."""
    child = await stack.playbook([fails("inner")])
    done = await stack.finish(await stack.start([calls(child, on_failure="continue"), echo("z")]))
    step = by_id(done)["sub"]
    assert (step["status"], step["error"]["code"]) == ("failed", "failed")
    assert step["error"]["message"] == f"{child['slug']} failed: step inner failed: inner broke"
    assert (done["status"], step["output"]["state"]) == ("completed", "failed")


async def test_bad_parameters_start_nothing(stack: Stack) -> None:
    """They are held to the schema of the sub-playbook."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    child = await stack.playbook([echo("inner")], parameters=schema)
    done = await stack.finish(await stack.start([calls(child, parameters={"n": "{{ asset.name }}"})]))
    assert (done["error"]["code"], "/n" in done["error"]["message"]) == ("validation_error", True)
    listed = (await stack.http.get(EXECUTIONS, params={"playbook_id": child["id"]})).json()
    assert listed["meta"]["total"] == 0


async def test_a_cancel_goes_down(stack: Stack) -> None:
    """The sub-playbook's own run reads `cancelled` too."""
    child = await stack.playbook([sleeps("inner", 60)])
    parent = await stack.start([calls(child)])
    inner = await child_of(stack, parent)
    await stack.until_step(inner["execution_id"], 0, "running")
    assert (await stack.cancel(parent)).json()["status"] == "cancelled"
    assert (await stack.finish(inner["execution_id"]))["status"] == "cancelled"
    assert statuses(await stack.finish(parent)) == {"sub": "cancelled"}


async def test_its_own_cancel_comes_up_as_a_failure(stack: Stack) -> None:
    """The parent was not cancelled: its step fails, and says why."""
    child = await stack.playbook([sleeps("inner", 60)])
    parent = await stack.start([calls(child, on_failure="continue"), echo("z")])
    inner = await child_of(stack, parent)
    await stack.until_step(inner["execution_id"], 0, "running")
    await stack.cancel(inner["execution_id"])
    done = await stack.finish(parent)
    assert (done["status"], by_id(done)["sub"]["error"]["code"]) == ("completed", "cancelled")


@pytest.mark.parametrize("on_conflict", ["fail", "wait"])
async def test_the_conflict_rule_holds(stack: Stack, on_conflict: str) -> None:
    """While the sub-playbook runs on the asset by itself the step fails, or waits until it is free."""
    child = await stack.playbook([{"id": "ask", "type": "approval"}])
    parent = await stack.playbook([calls(child, on_conflict=on_conflict)])
    asset = await stack.asset()
    first = (await stack.post_run(child["id"], asset["id"])).json()["execution_id"]
    await stack.until_step(first, 0, "running")
    second = (await stack.post_run(parent["id"], asset["id"])).json()["execution_id"]
    if on_conflict == "fail":
        done = await stack.finish(second)
        assert (done["status"], done["error"]["code"]) == ("failed", "conflict")
        await stack.cancel(first)
        return
    async with asyncio.timeout(60):
        while not (await stack.status(second))["steps"][0]["waiting_for"]:
            await asyncio.sleep(0.05)
    assert (await stack.http.post(f"{EXECUTIONS}/{first}/steps/ask/approve")).status_code == 200
    inner = await child_of(stack, second)
    async with asyncio.timeout(60):
        while (await stack.http.post(f"{EXECUTIONS}/{inner['execution_id']}/steps/ask/approve")).status_code != 200:
            await asyncio.sleep(0.05)
    assert (await stack.finish(second))["status"] == "completed"
    total = (await stack.http.get(EXECUTIONS, params={"playbook_id": child["id"]})).json()["meta"]["total"]
    assert total == 2


async def test_it_is_pinned_when_the_parent_starts(stack: Stack) -> None:
    """A revision that is stored while the parent runs is for later runs."""
    child = await stack.playbook([echo("inner", v=1)], outputs={"v": "{{ steps.inner.output.v }}"})
    parent = await stack.start([{"id": "ask", "type": "approval"}, calls(child)])
    await stack.until_step(parent, 0, "running")
    changed = {"name": child["name"], "steps": [echo("inner", v=2)], "outputs": {"v": "{{ steps.inner.output.v }}"}}
    assert (await stack.http.put(f"/api/playbooks/{child['id']}", json=changed)).status_code == 200
    await stack.http.post(f"{EXECUTIONS}/{parent}/steps/ask/approve")
    done = await stack.finish(parent)
    assert by_id(done)["sub"]["output"]["outputs"] == {"v": 1}


async def test_three_levels_deep_in_a_loop(stack: Stack) -> None:
    """A sub-playbook of a sub-playbook, once for each item, one after another."""
    leaf = await stack.playbook([echo("x", n="{{ parameters.n }}")], outputs={"n": "{{ steps.x.output.n }}"})
    middle = await stack.playbook(
        [calls(leaf, parameters={"n": "{{ parameters.n + 1 }}"})],
        outputs={"n": "{{ steps.sub.output.outputs.n }}"},
    )
    each = {
        "id": "each",
        "type": "foreach",
        "items": [1, 2],
        "output": "{{ steps.sub.output.outputs.n }}",
        "steps": [calls(middle, parameters={"n": "{{ item }}"})],
    }
    done = await stack.finish(await stack.start([each]))
    assert by_id(done)["each"]["output"]["results"] == [2, 3]


async def test_a_rehearsal_rehearses_it(stack: Stack) -> None:
    """Nothing is touched in the sub-playbook either."""
    child = await stack.playbook([sleeps("inner", 3600)])
    parent = await stack.start([calls(child)], run={"dry_run": True})
    done = await stack.finish(parent)
    inner = await stack.status(by_id(done)["sub"]["execution_id"])
    assert (done["status"], inner["status"], inner["dry_run"]) == ("completed", "completed", True)


async def test_circles_are_refused_when_stored(stack: Stack) -> None:
    """A playbook that runs itself, by itself or by way of another, names the step; so does one that is not there."""
    name = f"Circle {uuid.uuid4()}"
    slug = name.lower().replace(" ", "-")
    own = await stack.http.post(
        "/api/playbooks", json={"name": name, "steps": [{"type": "playbook", "playbook": slug}]}
    )
    assert own.json()["error"]["details"] == [{"path": "/steps/0/playbook", "message": "a playbook cannot run itself"}]
    first = await stack.playbook([echo("a")])
    second = await stack.playbook([calls(first)])
    back = {"name": first["name"], "steps": [{"type": "parallel", "branches": [[calls(second)]]}]}
    circle = await stack.http.put(f"/api/playbooks/{first['id']}", json=back)
    (detail,) = circle.json()["error"]["details"]
    assert detail["path"] == "/steps/0/branches/0/0/playbook"
    assert "leads back to this one" in detail["message"]
    none = await stack.http.post(
        "/api/playbooks", json={"name": "None", "steps": [{"type": "playbook", "playbook": "nothing-there"}]}
    )
    assert (none.status_code, "there is no playbook `nothing-there`" in none.text) == (400, True)


async def test_a_deleted_one_refuses_the_start(stack: Stack) -> None:
    """409, and nothing was started."""
    child = await stack.playbook([echo("inner")])
    parent = await stack.playbook([calls(child)])
    await stack.http.delete(f"/api/playbooks/{child['id']}")
    asset = await stack.asset()
    answer = await stack.post_run(parent["id"], asset["id"])
    assert (answer.status_code, "was deleted" in answer.text) == (409, True)
    assert (await stack.http.get(EXECUTIONS, params={"playbook_id": parent["id"]})).json()["meta"]["total"] == 0


async def test_a_worker_that_stops_in_the_middle(stack: Stack) -> None:
    """Both runs go on with another one."""
    child = await stack.playbook([sleeps("inner", 1), echo("then")])
    parent = await stack.start([calls(child), echo("z")])
    inner = await child_of(stack, parent)
    await stack.until_step(inner["execution_id"], 0, "running")
    await stack.stop_worker()
    assert (await stack.status(parent))["status"] == "running"
    await stack.start_worker()
    assert (await stack.finish(parent))["status"] == "completed"
    assert (await stack.finish(inner["execution_id"]))["status"] == "completed"


async def test_one_that_never_began_is_cancelled_with_its_parent(stack: Stack) -> None:
    """The parent was cancelled when the row was written and the child was not started yet."""
    parent = await stack.start([sleeps("long", 60)])
    await stack.until_step(parent, 0, "running")
    await stack.cancel(parent)
    await stack.finish(parent)
    row = await stack.database.read(executions.get, parent)
    assert row is not None
    child = NewExecution(
        id="exec-never-begun",
        created_at=row.created_at - 120_000,
        created_by=parent,
        playbook_id=row.playbook_id,
        revision=row.revision,
        asset_id=row.asset_id,
        asset=row.asset,
        parameters={},
        dry_run=False,
        workflow_id="nobody:knows",
        parent_id=parent,
        parent_step="sub",
    )
    await stack.database.write(executions.insert, child)
    status = await stack.status(child.id)
    assert (status["status"], statuses(status)) == ("cancelled", {"long": "cancelled"})


@pytest.mark.parametrize("stop", ["failure", "cancel"])
async def test_a_stop_before_it_began(stack: Stack, stop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes while its row is written takes the row back: nothing was started."""
    insert, answers = records._insert_once, threading.Event()

    def answer_lost(connection: Connection, new: NewExecution) -> None:
        insert(connection, new)
        if not answers.is_set():
            connection.commit()
            raise DatabaseUnavailable("the answer was lost")

    monkeypatch.setattr(records, "_insert_once", answer_lost)
    often = RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.0)
    monkeypatch.setattr(workflows.steps.playbook, "ROW_RETRY", often)
    child = await stack.playbook([echo("inner")])
    beside = {**sleeps("beside", 60), "timeout": "1s" if stop == "failure" else "60s"}
    both = {"id": "both", "type": "parallel", "branches": [[calls(child)], [beside]], "on_failure": "ask"}
    parent = await stack.start([both, {"id": "ask", "type": "approval"}])
    await stack.until_step(parent, 2, "failed" if stop == "failure" else "running")
    assert await _rows_of(stack, child) == 1
    if stop == "cancel":
        await stack.cancel(parent)
    await _until_told(stack, parent)
    answers.set()
    async with asyncio.timeout(60):
        while by_id(await stack.status(parent))["sub"]["status"] != "cancelled" or await _rows_of(stack, child):
            await asyncio.sleep(0.05)
    assert (await stack.http.delete(f"/api/playbooks/{child['id']}")).status_code == 204
    await stack.cancel(parent)


async def _until_told(stack: Stack, execution: str) -> None:
    """Until the workflow has been given a task with the cancel in it, or with the failure of an activity."""
    row = await stack.database.read(executions.get, execution)
    assert row is not None
    handle = stack.temporal.get_workflow_handle(row.workflow_id)
    stops = (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED, EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED)
    async with asyncio.timeout(60):
        while True:
            kinds = [event.event_type async for event in handle.fetch_history_events()]
            told = next((number for number, kind in enumerate(kinds) if kind in stops), len(kinds))
            if EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED in kinds[told:]:
                return
            await asyncio.sleep(0.1)


async def _rows_of(stack: Stack, playbook: dict[str, Any]) -> int:
    """How many executions of a playbook there are."""
    total: int = (await stack.http.get(EXECUTIONS, params={"playbook_id": playbook["id"]})).json()["meta"]["total"]
    return total


async def test_circles_that_were_stored_at_the_same_time_start_nothing(stack: Stack) -> None:
    """Two that came to name each other in the same moment would wait for each other for ever: 409 tells of it."""
    first = await stack.playbook([echo("a")])
    second = await stack.playbook([calls(first, on_conflict="wait")])
    third = await stack.playbook([calls(second, on_conflict="wait")])

    def close_the_circle(connection: Connection) -> None:
        revision = playbooks.get_revision(connection, second["id"], 1)
        own = playbooks.get(connection, first["id"])
        assert revision is not None
        assert own is not None
        plan = {**revision.plan, "steps": [{**revision.plan["steps"][0], "playbook": second["id"]}]}
        known = {**asdict(revision), **asdict(own), "plan": plan}
        names = [field.name for field in fields(playbooks.NewRevision)]
        playbooks.replace(connection, own.id, playbooks.NewRevision(**{name: known[name] for name in names}))

    await stack.database.write(close_the_circle)
    asset = await stack.asset()
    for playbook in (first, second, third):
        answer = await stack.post_run(playbook["id"], asset["id"])
        assert (answer.status_code, "leads back to itself" in answer.text) == (409, True)
    assert (await stack.http.get("/api/playbooks/executions")).json()["meta"]["total"] == 0
