"""Runs that continue as new: in the middle of nested blocks, without anybody noticing.

The Temporal of these tests suggests it after ``SUGGESTED_EVENTS`` events already.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from tests.conftest import SUGGESTED_EVENTS
from tests.integration.engine.test_blocks import by_id, echo, fails, sleeps, statuses
from tests.stack import Stack
from workflows import machine


async def parts(stack: Stack, status: dict[str, Any]) -> list[int]:
    """The numbers of events of the parts that a run was made of, the oldest first."""
    workflow_id, run_id = status["temporal"]["workflow_id"], status["temporal"]["run_id"]
    counts: list[int] = []
    while run_id:
        history = await stack.temporal.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        counts.insert(0, len(history.events))
        run_id = history.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return counts


async def test_plain_steps(stack: Stack) -> None:
    """A long list of steps continues where it was; outputs, variables and times come along."""
    steps = [{"id": "set", "type": "set", "vars": {"n": 3}}, *[sleeps(f"s{n}", 0) for n in range(60)]]
    execution = await stack.start([*steps, echo("last", n="{{ vars.n }}", s="{{ steps.s0.output.slept }}")])
    status = await stack.finish(execution, timeout=60)
    assert set(statuses(status).values()) == {"completed"}
    assert by_id(status)["last"]["output"] == {"n": 3, "s": 0}
    counts = await parts(stack, status)
    assert len(counts) > 2
    assert max(counts) < SUGGESTED_EVENTS + 60
    assert status["started_at"] <= status["steps"][0]["started_at"] <= status["steps"][-1]["finished_at"]


async def test_nested_loops(stack: Stack) -> None:
    """In the middle of loops in branches in loops; every iteration runs once, and its results are in order."""
    inner = {
        "id": "inner",
        "type": "foreach",
        "items": "{{ [0, 1, 2, 3, 4, 5, 6, 7].map(n, n + 10 * item) }}",
        "concurrency": 3,
        "steps": [sleeps("nap", 0), echo("leaf", n="{{ item }}", host="{{ steps.host.output.n }}")],
    }
    both = {"id": "both", "type": "parallel", "branches": [[inner], [sleeps("b1", 0), sleeps("b2", 0)]]}
    total = "{{ steps.inner.output.results.map(r, r.n) }}"
    outer = {
        "id": "outer",
        "type": "foreach",
        "items": [0, 1, 2, 3],
        "concurrency": 2,
        "steps": [echo("host", n="{{ item }}"), both, echo("sum", all=total)],
    }
    status = await stack.finish(await stack.start([outer]), timeout=60, include="io,iterations")
    results = by_id(status)["outer"]["output"]["results"]
    assert [result["all"] for result in results] == [[n + 10 * host for n in range(8)] for host in range(4)]
    records = by_id(status)["inner"]["iteration_records"]
    assert sorted(record["iteration"] for record in records) == sorted(f"{a}.{b}" for a in range(4) for b in range(8))
    assert by_id(status)["leaf"]["runs"]["completed"] == 32
    assert len(await parts(stack, status)) > 1


async def test_a_while_loop(stack: Stack) -> None:
    """It goes on counting."""
    body = [sleeps("nap", 0), {"id": "turn", "type": "set", "vars": {"n": "{{ index + 1 }}"}}]
    again = {"id": "again", "type": "while", "expression": "index < 40", "steps": body}
    status = await stack.finish(await stack.start([again, echo("last", n="{{ vars.n }}")]), timeout=60)
    assert by_id(status)["last"]["output"] == {"n": 40}
    assert len(await parts(stack, status)) > 1


async def test_what_waits_goes_on_waiting(stack: Stack) -> None:
    """A delay ends at its time, an approval can be decided, a retry keeps its count, whatever part of the run it is."""
    loop = {"id": "each", "type": "foreach", "items": list(range(60)), "steps": [sleeps("nap", 0)]}
    flaky = {
        "id": "flaky",
        "action_ref": "core.fail",
        "parameters": {"message": "not yet", "retryable": True, "times": 1},
        "retry": {"max_attempts": 2, "initial_interval": "6s"},
    }
    branches = [
        [loop],
        [{"id": "wait", "type": "delay", "duration": "6s"}],
        [{"id": "ask", "type": "approval"}],
        [flaky],
    ]
    execution = await stack.start([{"id": "both", "type": "parallel", "branches": branches}])
    await stack.until_step(execution, 1, "completed", timeout=60)
    status = await stack.status(execution)
    assert len(await parts(stack, status)) > 1
    assert by_id(status)["wait"]["waiting_for"]["kind"] == "delay"
    url = f"/api/playbooks/executions/{execution}/steps/ask/approve"
    assert (await stack.http.post(url)).status_code == 200
    done = by_id(await stack.finish(execution))
    assert [done[name]["status"] for name in ("wait", "ask", "flaky")] == ["completed"] * 3
    assert (done["flaky"]["attempt"], done["wait"]["duration_ms"] > 5900) == (2, True)


async def test_a_cancel_after_it(stack: Stack) -> None:
    """Reaches the part that runs now, and the run is described as one."""
    loop = {"id": "each", "type": "foreach", "items": list(range(60)), "steps": [sleeps("nap", 0)]}
    execution = await stack.start([loop, sleeps("slow", 60)])
    await stack.until_step(execution, 2, "running", timeout=60)
    cancelled = (await stack.cancel(execution, reason="enough")).json()
    assert (cancelled["status"], cancelled["cancelled"]["reason"]) == ("cancelled", "enough")
    status = await stack.finish(execution)
    assert statuses(status) == {"each": "completed", "nap": "completed", "slow": "cancelled"}
    handle = stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"])
    async with asyncio.timeout(60):
        while (await handle.describe()).status is not WorkflowExecutionStatus.CANCELED:
            await asyncio.sleep(0.05)
    assert len(await parts(stack, status)) > 1


async def test_a_failure_before_it_is_not_forgotten(stack: Stack) -> None:
    """Steps that were passed over stay so, failures too, and `always` still knows."""
    loop = {"id": "each", "type": "foreach", "items": list(range(60)), "steps": [sleeps("nap", 0)]}
    steps = [fails("bad"), echo("never")]
    execution = await stack.start(steps, always=[loop, echo("tell", state="{{ execution.status }}")])
    status = await stack.finish(execution, timeout=60)
    assert (status["status"], status["error"]["message"]) == ("failed", "step bad failed: bad broke")
    assert by_id(status)["tell"]["output"] == {"state": "failed"}
    assert len(await parts(stack, status)) > 1


async def test_the_time_limit_holds_over_all_parts(stack: Stack) -> None:
    """It counts from the start of the run."""
    endless = {
        "id": "again",
        "type": "while",
        "expression": "true",
        "max_iterations": 10000,
        "steps": [sleeps("nap", 0.02)],
    }
    status = await stack.finish(await stack.start([endless], timeout_minutes=0.1), timeout=60)
    assert status["error"]["code"] == "timed_out"
    assert len(await parts(stack, status)) > 1


async def test_every_worker_may_die_meanwhile(stack: Stack) -> None:
    """A worker that starts in any part goes on from there."""
    loop = {
        "id": "each",
        "type": "foreach",
        "items": list(range(80)),
        "concurrency": 4,
        "steps": [sleeps("nap", 0.05), echo("n", n="{{ item }}")],
    }
    execution = await stack.start([loop])
    for _ in range(3):
        await asyncio.sleep(0.7)
        await stack.stop_worker()
        await stack.start_worker()
    status = await stack.finish(execution, timeout=60)
    assert [result["n"] for result in by_id(status)["each"]["output"]["results"]] == list(range(80))
    assert len(await parts(stack, status)) > 1


LOOP = {"id": "each", "type": "foreach", "items": list(range(60)), "steps": [sleeps("nap", 0.02)]}


async def test_always_goes_on_after_the_time_limit(stack: Stack) -> None:
    """The limit has stopped the steps of the playbook itself; those of `always` it does not reach in any part."""
    tell = echo("tell", state="{{ execution.status }}")
    execution = await stack.start([sleeps("slow", 60)], timeout_minutes=0.02, always=[LOOP, tell])
    status = await stack.finish(execution, timeout=60)
    assert len(await parts(stack, status)) > 1
    assert (status["status"], status["error"]["code"]) == ("failed", "timed_out")
    assert statuses(status) == {"slow": "failed", "each": "completed", "nap": "completed", "tell": "completed"}


async def test_always_may_outlast_the_time_limit(stack: Stack) -> None:
    """A run whose own steps ended in time stays completed, however long `always` takes."""
    loop = {**LOOP, "steps": [sleeps("nap", 0.06)]}
    status = await stack.finish(await stack.start([echo("a")], timeout_minutes=0.02, always=[loop]), timeout=60)
    assert len(await parts(stack, status)) > 1
    assert (status["status"], status["error"]) == ("completed", None)


async def test_outputs_are_made_before_always(stack: Stack) -> None:
    """Variables that `always` sets do not change them."""
    steps = [{"id": "set", "type": "set", "vars": {"x": 1}}]
    always = [{"id": "late", "type": "set", "vars": {"x": 2}}, LOOP]
    status = await stack.finish(await stack.start(steps, outputs={"x": "{{ vars.x }}"}, always=always), timeout=60)
    assert len(await parts(stack, status)) > 1
    assert status["outputs"] == {"x": 1}


def held_up(ask: dict[str, Any]) -> list[dict[str, Any]]:
    """A loop, an approval, and a step that keeps the run from continuing as new for some seconds."""
    loop = {**LOOP, "items": list(range(200))}
    return [{"id": "both", "type": "parallel", "branches": [[loop], [ask], [sleeps("slow", 6)]]}]


async def until_held_up(stack: Stack, execution: str) -> None:
    """Returns when the loop of ``held_up`` has come to a stand."""
    before = -1
    async with asyncio.timeout(60):
        while (done := by_id(await stack.status(execution))["each"].get("iterations") or {}).get("completed") != before:
            before = done.get("completed", -2)
            await asyncio.sleep(0.5)


async def test_a_decision_while_the_run_waits_to_continue(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is taken, counts in the next part, and a second one is told so."""
    monkeypatch.setattr(machine, "HARD_EVENTS", 60)
    execution = await stack.start(held_up({"id": "ask", "type": "approval", "on_failure": "continue"}))
    await until_held_up(stack, execution)
    url = f"/api/playbooks/executions/{execution}/steps/ask"
    assert (await stack.http.post(f"{url}/reject", json={"comment": "no"})).status_code == 200
    second = await stack.http.post(f"{url}/approve")
    assert (second.status_code, second.json()["error"]["code"]) == (409, "not_waiting")
    assert "was rejected by admin already" in second.json()["error"]["message"]
    monkeypatch.undo()
    status = await stack.finish(execution, timeout=60)
    assert (status["status"], by_id(status)["ask"]["error"]["message"]) == ("completed", "rejected by admin: no")
    assert by_id(status)["each"]["iterations"]["completed"] == 200


async def test_a_late_decision_while_the_run_waits_to_continue(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an approval is over when it is over, whatever the run is busy with."""
    monkeypatch.setattr(machine, "HARD_EVENTS", 60)
    ask = {"id": "ask", "type": "approval", "timeout": "1s", "on_timeout": "continue"}
    execution = await stack.start(held_up(ask))
    await until_held_up(stack, execution)
    await asyncio.sleep(1)
    late = await stack.http.post(f"/api/playbooks/executions/{execution}/steps/ask/approve")
    assert (late.status_code, late.json()["error"]["code"]) == (409, "not_waiting")
    monkeypatch.undo()
    status = await stack.finish(execution, timeout=60)
    assert by_id(status)["ask"]["error"]["code"] == "approval_timed_out"


async def test_a_history_that_grows_in_bytes(stack: Stack) -> None:
    """Temporal ends a run with 50 MB of history; outputs of some size beside a long step must not come to that."""
    large = {"id": "large", "action_ref": "test.large", "parameters": {"bytes": 200_000}}
    loop = {"id": "each", "type": "foreach", "items": list(range(280)), "concurrency": 6, "steps": [large]}
    both = {"id": "both", "type": "parallel", "branches": [[loop], [sleeps("slow", 8)]]}
    status = await stack.finish(await stack.start([both]), timeout=100, include=None)
    assert (status["status"], by_id(status)["each"]["iterations"]["completed"]) == ("completed", 280)
