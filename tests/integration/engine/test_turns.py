"""Runs that need nothing of Temporal for long: two seconds without a word count as a deadlock there."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from tests.integration.engine.test_blocks import by_id
from tests.stack import Stack
from workflows.machine import QUICK_EFFORT, STEP_EFFORT, TURN_EFFORT
from workflows.steps import foreach, repeat

CHECK = {"id": "check", "type": "condition", "expression": "index >= 0"}
TASK_DONE = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
MANY = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"


async def test_loops_of_conditions(stack: Stack) -> None:
    """Thirty thousand iterations without an action come to their end."""
    inner = {"id": "inner", "type": "while", "expression": "true", "max_iterations": 200, "steps": [CHECK]}
    outer = {"id": "outer", "type": "foreach", "items": list(range(150)), "concurrency": 10}
    execution = await stack.start([{**outer, "steps": [{**inner, "on_failure": "continue"}]}])
    status = await stack.finish(execution, timeout=100, include=None)
    assert (status["status"], by_id(status)["check"]["runs"]["completed"]) == ("completed", 30_000)


async def test_expressions_that_take_long(stack: Stack) -> None:
    """What expressions take counts, not only how many steps there are."""
    heavy = f"{MANY}.all(a, {MANY}.all(b, parameters.numbers.all(c, a + b + c >= 0)))"
    step = {"id": "check", "type": "condition", "expression": heavy}
    loop = {"id": "each", "type": "foreach", "items": list(range(120)), "concurrency": 20, "steps": [step]}
    numbers = {"type": "object", "properties": {"numbers": {"type": "array"}}}
    run = {"parameters": {"numbers": list(range(100))}}
    execution = await stack.start([loop], parameters=numbers, run=run)
    status = await stack.finish(execution, timeout=100, include=None)
    assert (status["status"], by_id(status)["each"]["iterations"]["completed"]) == ("completed", 120)
    kinds = await parts(stack, status)
    turns = sum(1 + one.count(EventType.EVENT_TYPE_TIMER_FIRED) for one in kinds)
    # Each takes some 80,000 steps: no turn has many of them, however many wait for it.
    assert turns >= 120 * 75_000 // TURN_EFFORT


async def test_quick_actions_without_a_pause(stack: Stack) -> None:
    """A workflow task ends in time, before its actions would have to be run again, and says how far the loop is."""
    echo = {"id": "echo", "action_ref": "core.echo", "parameters": {"x": "{{ item }}"}}
    loop: dict[str, Any] = {"id": "each", "type": "foreach", "items": list(range(1000)), "concurrency": 10}
    execution = await stack.start([{**loop, "steps": [echo]}])
    status = await stack.finish(execution, timeout=100, include=None)
    assert (status["status"], by_id(status)["each"]["iterations"]["completed"]) == ("completed", 1000)
    together = TURN_EFFORT // (STEP_EFFORT + QUICK_EFFORT) + loop["concurrency"]
    for kinds in await parts(stack, status):
        assert kinds.count(EventType.EVENT_TYPE_MARKER_RECORDED) <= together * kinds.count(TASK_DONE)
        assert EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT not in kinds


async def parts(stack: Stack, status: dict[str, Any]) -> list[list[int]]:
    """The kinds of events of each part of a run that has continued as new."""
    workflow_id, run_id = status["temporal"]["workflow_id"], status["temporal"]["run_id"]
    await stack.temporal.get_workflow_handle(workflow_id, run_id=run_id).result()
    found = []
    while run_id:
        events = (await stack.temporal.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()).events
        found.append([event.event_type for event in events])
        run_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return found


@pytest.mark.parametrize(
    "inner",
    [
        {"id": "inner", "type": "foreach", "items": list(range(10)), "steps": [CHECK]},
        {"id": "inner", "type": "while", "expression": "index < 10", "steps": [CHECK]},
    ],
    ids=["foreach", "while"],
)
async def test_iterations_have_an_end(stack: Stack, monkeypatch: pytest.MonkeyPatch, inner: dict[str, Any]) -> None:
    """Loops in loops may not fill the worker's memory: the loop that would fails."""
    for module, name in ((foreach, "MAX_ITERATIONS"), (repeat, "MAX_TOGETHER")):
        monkeypatch.setattr(module, name, 50)
    outer = {"id": "outer", "type": "foreach", "items": list(range(10)), "steps": [inner]}
    status = await stack.finish(await stack.start([outer]))
    assert (status["status"], status["error"]["code"]) == ("failed", "too_many_iterations")
    assert by_id(status)["check"]["runs"]["completed"] <= 50
