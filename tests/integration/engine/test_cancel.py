"""Cancel: at once, for ever, whatever it races with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from storage import audit
from storage.audit import NewAudit
from storage.errors import DatabaseUnavailable
from tests.stack import Stack, running_stack, stack_settings, states


def sleep(seconds: float, **more: object) -> dict[str, Any]:
    """A step that sleeps."""
    return {"action_ref": "core.sleep", "parameters": {"seconds": seconds}, **more}


ECHO = {"action_ref": "core.echo", "parameters": {"x": 1}}


async def test_completed_steps_stay_and_the_rest_reads_cancelled(stack: Stack) -> None:
    """The step at work is told to stop, later ones never begin, nothing is rolled back."""
    execution = await stack.start([ECHO, sleep(60), ECHO])
    await stack.until_step(execution, 1, "running")
    answer = await stack.cancel(execution, reason="wrong asset")
    assert answer.status_code == 200
    assert (answer.json()["status"], states(answer.json())) == ("cancelled", ["completed", "cancelled", "cancelled"])
    assert answer.json()["cancelled"]["by"] == "admin"
    assert answer.json()["cancelled"]["reason"] == "wrong asset"
    assert await stack.status(execution) == answer.json()


async def test_a_cancel_reaches_a_running_action_within_two_seconds(stack: Stack) -> None:
    """The workflow closes, which it does only after its action has stopped."""
    execution = await stack.start([{"action_ref": "script.run", "parameters": {"script": "sleep 60"}}])
    running = await stack.until_step(execution, 0, "running")
    await stack.cancel(execution)
    handle = stack.temporal.get_workflow_handle(running["temporal"]["workflow_id"])
    async with asyncio.timeout(60):
        while (description := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            await asyncio.sleep(0.05)
    assert description.status is WorkflowExecutionStatus.CANCELED


async def test_before_the_first_step(idle_stack: Stack) -> None:
    """A run that no worker has taken yet reads cancelled at once, and after a worker came."""
    execution = await idle_stack.start([ECHO, sleep(1)])
    answer = await idle_stack.cancel(execution)
    assert (answer.json()["status"], states(answer.json())) == ("cancelled", ["cancelled", "cancelled"])
    await idle_stack.start_worker()
    await asyncio.sleep(1)
    status = await idle_stack.status(execution)
    assert (status["status"], states(status)) == ("cancelled", ["cancelled", "cancelled"])


async def test_during_a_retry_wait(stack: Stack) -> None:
    """A step that waits for its next attempt reads cancelled."""
    step = {
        "action_ref": "core.fail",
        "parameters": {"message": "no"},
        "retry": {"max_attempts": 5, "initial_interval": "1h"},
    }
    execution = await stack.start([step, ECHO])
    status = await stack.until_step(execution, 0, "running")
    assert status["steps"][0]["waiting_for"]["kind"] == "retry"
    answer = await stack.cancel(execution)
    assert (answer.json()["status"], states(answer.json())) == ("cancelled", ["cancelled", "cancelled"])


async def test_during_a_delay(stack: Stack) -> None:
    """A delay ends with the cancel."""
    execution = await stack.start([{"type": "delay", "name": "Wait", "duration": "1h"}, ECHO])
    await stack.until_step(execution, 0, "running")
    answer = await stack.cancel(execution)
    assert states(answer.json()) == ["cancelled", "cancelled"]


async def test_of_an_action_that_swallows_it(stack: Stack) -> None:
    """The run reads cancelled, at once and for ever, and no further step runs, though the action finishes."""
    execution = await stack.start([{"action_ref": "test.stubborn", "parameters": {"seconds": 3}}, ECHO])
    await stack.until_step(execution, 0, "running")
    answer = await stack.cancel(execution)
    assert (answer.json()["status"], states(answer.json())) == ("cancelled", ["cancelled", "cancelled"])
    handle = stack.temporal.get_workflow_handle(answer.json()["temporal"]["workflow_id"])
    async with asyncio.timeout(60):
        while (description := await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            assert states(await stack.status(execution)) == ["cancelled", "cancelled"]
            await asyncio.sleep(0.1)
    assert description.status is WorkflowExecutionStatus.CANCELED
    status = await stack.status(execution)
    assert (status["status"], states(status)) == ("cancelled", ["cancelled", "cancelled"])


async def test_twice(stack: Stack) -> None:
    """A second cancel answers like the first."""
    execution = await stack.start([sleep(60)])
    await stack.until_step(execution, 0, "running")
    first, second = await stack.cancel(execution, reason="one"), await stack.cancel(execution, reason="two")
    assert (second.status_code, second.json()) == (200, first.json())


async def test_many_at_once(stack: Stack) -> None:
    """Cancels that race each other all say the same."""
    execution = await stack.start([ECHO, sleep(60)])
    await stack.until_step(execution, 1, "running")
    answers = await asyncio.gather(*(stack.cancel(execution) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert {tuple(states(answer.json())) for answer in answers} == {("completed", "cancelled")}


async def test_after_the_end(stack: Stack) -> None:
    """A completed execution stays so; the cancel is refused."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    answer = await stack.cancel(execution)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_running")
    assert (await stack.status(execution))["status"] == "completed"


@pytest.mark.parametrize("by", ["api", "temporal"])
async def test_in_the_activation_that_brings_a_result(tmp_path: Path, by: str) -> None:
    """A step that had finished when the cancel came keeps its result, though the workflow learns of both together."""
    async with running_stack(stack_settings(tmp_path, drain_seconds=10)) as stack:
        execution = await stack.start([sleep(1), ECHO])
        running = await stack.until_step(execution, 0, "running")
        handle = stack.temporal.get_workflow_handle(running["temporal"]["workflow_id"])
        # A worker that drains takes no more workflow tasks, and lets its activity end.
        await stack.stop_worker()
        assert not (await handle.describe()).raw_description.pending_activities
        if by == "api":
            assert states((await stack.cancel(execution)).json()) == ["completed", "cancelled"]
        else:
            await handle.cancel()
        await stack.start_worker()
        status = await stack.finish(execution)
        assert (status["status"], states(status)) == ("cancelled", ["completed", "cancelled"])
        async with asyncio.timeout(60):
            while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await asyncio.sleep(0.05)
        status = await stack.status(execution, include="io")
        assert (states(status), status["steps"][0]["output"]) == (["completed", "cancelled"], {"slept": 1.0})


@pytest.mark.parametrize("kind", ["parallel", "foreach", "while"])
async def test_of_a_block_in_the_activation_that_brings_a_result(tmp_path: Path, kind: str) -> None:
    """A block that a cancel keeps from its next step is cancelled, and so is that step; what had finished stays."""
    body = [{**sleep(1), "id": "first"}, {**ECHO, "id": "second"}]
    block = {
        "parallel": {"type": "parallel", "branches": [body]},
        "foreach": {"type": "foreach", "items": [1], "steps": body},
        "while": {"type": "while", "expression": "index < 1", "steps": body},
    }[kind]
    async with running_stack(stack_settings(tmp_path, drain_seconds=10)) as stack:
        execution = await stack.start([{"id": "block", **block}, ECHO])
        running = await stack.until_step(execution, 1, "running")
        handle = stack.temporal.get_workflow_handle(running["temporal"]["workflow_id"])
        # A worker that drains takes no more workflow tasks, and lets its activity end.
        await stack.stop_worker()
        assert not (await handle.describe()).raw_description.pending_activities
        await handle.cancel()
        await stack.start_worker()
        status = await stack.finish(execution)
    assert states(status) == ["cancelled", "completed", "cancelled", "cancelled"]


async def test_from_the_temporal_web_ui(stack: Stack) -> None:
    """A cancel in Temporal reads as true as one through the API."""
    execution = await stack.start([ECHO, sleep(60), ECHO])
    status = await stack.until_step(execution, 1, "running")
    await stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"]).cancel()
    status = await stack.finish(execution)
    assert (status["status"], states(status)) == ("cancelled", ["completed", "cancelled", "cancelled"])
    assert status["cancelled"]["by"] == "temporal"


async def test_terminate_in_the_temporal_web_ui(stack: Stack) -> None:
    """A terminated run is settled on the first read: no step is left pending or running."""
    execution = await stack.start([ECHO, sleep(60), ECHO])
    status = await stack.until_step(execution, 1, "running")
    await stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"]).terminate(reason="out of control")
    status = await stack.status(execution)
    assert (status["status"], states(status)) == ("cancelled", ["completed", "cancelled", "cancelled"])
    assert "out of control" in status["cancelled"]["reason"]


async def test_nothing_is_cancelled_that_cannot_be_audited(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry is written with the note of the cancel, before Temporal is told; 503 then says the truth."""
    execution = await stack.start([sleep(60)])
    await stack.until_step(execution, 0, "running")
    append = audit.append

    def away(connection: Any, *entries: NewAudit) -> None:
        if any(entry.action == "execution.cancel" for entry in entries):
            raise DatabaseUnavailable("away")
        append(connection, *entries)

    monkeypatch.setattr("storage.audit.append", away)
    assert (await stack.cancel(execution)).status_code == 503
    assert (await stack.status(execution))["status"] == "running"
    monkeypatch.setattr("storage.audit.append", append)
    assert (await stack.cancel(execution, reason="again")).json()["cancelled"]["reason"] == "again"
    found = (await stack.http.get("/api/audit", params={"action": "execution.cancel"})).json()["data"]
    assert [(one["object_id"], one["details"]) for one in found] == [(execution, {"reason": "again"})]
