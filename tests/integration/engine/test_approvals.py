"""Approvals: who decides, how, and what becomes of a decision that comes twice or too late."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from engine.errors import DecisionRefused
from engine.runs import Runs
from executions.deciding import Decider
from playbooks.contract import Decide
from storage import executions
from tests.integration.engine.test_blocks import by_id, echo, statuses
from tests.stack import Stack

ASK = {"id": "ask", "type": "approval", "message": "Patch {{ asset.name }}?"}


async def waiting(stack: Stack, ask: dict[str, Any], *more: dict[str, Any]) -> str:
    """An execution that waits for approval at its first step."""
    execution = await stack.start([ask, *more])
    async with asyncio.timeout(60):
        while not (await stack.status(execution))["steps"][0]["waiting_for"]:
            await asyncio.sleep(0.02)
    return execution


async def decide(stack: Stack, execution: str, word: str = "approve", step: str = "ask", **fields: Any) -> Any:
    """The raw answer to a decision."""
    token = fields.pop("token", None)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    url = f"/api/playbooks/executions/{execution}/steps/{step}/{word}"
    return await stack.http.post(url, json=fields, headers=headers)


async def token(stack: Stack, name: str, *permissions: str) -> str:
    """A token of that name."""
    body = {"name": name, "permissions": list(permissions)}
    secret: str = (await stack.http.post("/api/tokens", json=body)).json()["token"]
    return secret


async def audit(stack: Stack, execution: str, action: str) -> list[dict[str, Any]]:
    """The decisions on an execution that the audit trail holds, those that were refused left out."""
    query = {"object_id": execution, "action": action}
    entries = (await stack.http.get("/api/audit", params=query)).json()["data"]
    return [entry for entry in entries if entry["outcome"] == "ok"]


async def test_an_approved_step_lets_the_run_go_on(stack: Stack) -> None:
    """The output says who decided, the audit trail too."""
    execution = await waiting(stack, ASK, echo("after", by="{{ steps.ask.output.by }}"))
    status = await stack.status(execution, include="io")
    assert status["steps"][0]["waiting_for"] == {"kind": "approval", "until": None}
    assert status["steps"][0]["input"] == {"message": "Patch web-01?", "approvers": []}
    answer = await decide(stack, execution, comment="go")
    assert answer.status_code == 200, answer.text
    done = await stack.finish(execution)
    assert statuses(done) == {"ask": "completed", "after": "completed"}
    assert by_id(done)["after"]["output"] == {"by": "admin"}
    assert by_id(done)["ask"]["output"]["comment"] == "go"
    (entry,) = await audit(stack, execution, "execution.approve")
    assert (entry["actor_name"], entry["details"]) == ("admin", {"step": "ask", "comment": "go"})
    assert entry["address"] == "127.0.0.1"


async def test_a_rejected_step_fails(stack: Stack) -> None:
    """The run fails with the code `rejected`, and says by whom and why."""
    execution = await waiting(stack, ASK, echo("after"))
    assert (await decide(stack, execution, "reject", comment="not now")).status_code == 200
    done = await stack.finish(execution)
    assert (done["status"], done["error"]["code"]) == ("failed", "rejected")
    assert done["error"]["message"] == "step ask failed: rejected by admin: not now"
    assert len(await audit(stack, execution, "execution.reject")) == 1


async def test_a_rejection_may_be_handled(stack: Stack) -> None:
    """Like every failure."""
    handler = {**echo("undo"), "run": "on_failure_only"}
    execution = await waiting(stack, {**ASK, "on_failure": "undo"}, echo("after"), handler)
    await decide(stack, execution, "reject")
    done = await stack.finish(execution)
    assert done["status"] == "completed"
    assert statuses(done) == {"ask": "failed", "after": "skipped", "undo": "completed"}


async def test_a_decision_that_comes_twice_is_told_so(stack: Stack) -> None:
    """Of many at once one counts; the others are told who decided; after the end too."""
    execution = await waiting(stack, ASK, {"type": "delay", "duration": "1s"})
    answers = await asyncio.gather(*[decide(stack, execution) for _ in range(10)])
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] + [409] * 9
    late = next(answer for answer in answers if answer.status_code == 409).json()["error"]
    assert (late["code"], late["execution_id"]) == ("not_waiting", execution)
    assert "approved by admin already" in late["message"]
    await stack.finish(execution)
    after = await decide(stack, execution, "reject")
    assert (after.status_code, after.json()["error"]["message"]) == (409, "The execution is completed.")
    assert len(await audit(stack, execution, "execution.approve")) == 1


@pytest.mark.parametrize(("step", "status"), [("nothing", 404), ("later", 409)])
async def test_a_step_that_does_not_wait(stack: Stack, step: str, status: int) -> None:
    """An unknown step is 404, one that waits for nothing 409."""
    execution = await waiting(stack, ASK, echo("later"))
    answer = await decide(stack, execution, step=step)
    assert answer.status_code == status
    await stack.cancel(execution)


async def test_an_unknown_execution(stack: Stack) -> None:
    """404."""
    assert (await decide(stack, "exec-none")).status_code == 404


@pytest.mark.parametrize(("approvers", "allowed"), [(["boss"], True), (["playbook:write"], True), (["other"], False)])
async def test_only_approvers_decide(stack: Stack, approvers: list[str], allowed: bool) -> None:
    """By the name of the token or by a permission; nobody else, not even the administrator's token."""
    execution = await waiting(stack, {**ASK, "approvers": approvers})
    stranger = await token(stack, "stranger", "playbook:execute")
    boss = await token(stack, "boss", "playbook:execute", "playbook:write")
    refused = await decide(stack, execution, token=stranger)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert (await decide(stack, execution, token=boss)).status_code == (200 if allowed else 403)
    await stack.cancel(execution)


async def test_a_reader_cannot_decide(stack: Stack) -> None:
    """The route asks for the permission to run playbooks."""
    reader = await token(stack, "reader", "playbook:read")
    assert (await decide(stack, "exec-none", token=reader)).status_code == 403


@pytest.mark.parametrize(
    ("on_timeout", "expected"),
    [
        ("abort", {"ask": "failed", "after": "skipped", "undo": "skipped"}),
        ("continue", {"ask": "failed", "after": "completed", "undo": "skipped"}),
        ("approve", {"ask": "completed", "after": "completed", "undo": "skipped"}),
        ("undo", {"ask": "failed", "after": "skipped", "undo": "completed"}),
    ],
)
async def test_nobody_decides_in_time(stack: Stack, on_timeout: str, expected: dict[str, str]) -> None:
    """What happens then is the step's to say."""
    handler = {**echo("undo"), "run": "on_failure_only"}
    keep = {"on_failure": "undo"} if on_timeout != "undo" else {}
    ask = {**ASK, "timeout": "300ms", "on_timeout": on_timeout, **keep}
    done = await stack.finish(await stack.start([ask, echo("after"), handler]))
    assert statuses(done) == expected


async def test_a_cancel_while_it_waits(stack: Stack) -> None:
    """The step reads `cancelled`; a decision after that is told so."""
    execution = await waiting(stack, ASK)
    assert (await stack.cancel(execution)).json()["status"] == "cancelled"
    assert (await decide(stack, execution)).status_code == 409


async def test_approvals_in_a_loop_are_told_apart(stack: Stack) -> None:
    """By the number of the iteration; without it only where one waits."""
    each = {"id": "each", "type": "foreach", "items": ["a", "b"], "concurrency": 2, "steps": [ASK]}
    execution = await stack.start([each])
    async with asyncio.timeout(60):
        while (await stack.status(execution, "iterations"))["steps"][1].get("runs", {}).get("running") != 2:
            await asyncio.sleep(0.02)
    unclear = await decide(stack, execution)
    assert (unclear.status_code, "ask.0, ask.1" in unclear.text) == (409, True)
    assert (await decide(stack, execution, step="ask.1", comment="one")).status_code == 200
    assert (await decide(stack, execution, step="ask")).status_code == 200
    done = await stack.finish(execution)
    assert [result["comment"] for result in by_id(done)["each"]["output"]["results"]] == [None, "one"]


@pytest.mark.parametrize("way", ["update", "signal"])
async def test_an_operator_decides_in_temporal(stack: Stack, way: str) -> None:
    """By the update or the signal that the Web UI offers; the decision is in the audit trail."""
    execution = await waiting(stack, ASK)
    handle = stack.temporal.get_workflow_handle((await stack.status(execution))["temporal"]["workflow_id"])
    if way == "update":
        await handle.execute_update("decide", Decide(comment="from the Web UI"))
    else:
        await handle.signal("approve", Decide(comment="from the Web UI"))
    done = await stack.finish(execution)
    assert by_id(done)["ask"]["output"]["by"] == "temporal"
    (entry,) = await audit(stack, execution, "execution.approve")
    assert (entry["actor_name"], entry["details"]["comment"]) == ("temporal", "from the Web UI")


async def test_with_no_worker_nothing_is_decided(stack: Stack) -> None:
    """503 names the worker; once there is one, the decision can be made, if it was not taken by then."""
    execution = await waiting(stack, ASK)
    await stack.stop_worker()
    answer = await decide(stack, execution)
    error = answer.json()["error"]
    assert (answer.status_code, error["dependency"]) == (503, "worker")
    assert error["message"] == "The worker cannot be reached; the decision may still be taken: ask again."
    await stack.start_worker()
    again = await decide(stack, execution)
    assert again.status_code in (200, 409)
    assert (await stack.finish(execution))["status"] == "completed"


async def test_many_clients(stack: Stack) -> None:
    """Two clients of different minds: one wins, and the run follows it."""
    execution = await waiting(stack, ASK)
    answers: list[httpx2.Response] = await asyncio.gather(
        decide(stack, execution, "approve"), decide(stack, execution, "reject")
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    done = await stack.finish(execution)
    assert done["status"] == ("completed" if answers[0].status_code == 200 else "failed")


async def test_a_decision_follows_a_run_that_continues_as_new(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came in the moment between two parts of a run, in which nothing waits: it is given to the next part."""
    execution = await waiting(stack, ASK)
    original, tries = Runs.decide, 0

    async def between_two_parts(runs: Runs, *arguments: Any) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DecisionRefused("not_waiting", "the step ask does not wait for approval")
        return await original(runs, *arguments)

    async def moved(*_: object) -> bool:
        return True

    monkeypatch.setattr(Runs, "decide", between_two_parts)
    monkeypatch.setattr(Decider, "_has_moved", moved)
    assert (await decide(stack, execution)).status_code == 200
    assert (await stack.finish(execution))["status"] == "completed"
    assert tries == 2


async def test_a_decision_and_a_cancel_at_the_same_moment(stack: Stack) -> None:
    """The decision was accepted before the cancel reached the run, so the audit trail has it."""
    execution = await waiting(stack, ASK, echo("after"))
    await stack.stop_worker()
    answer = asyncio.create_task(decide(stack, execution))
    await asyncio.sleep(0.3)
    row = await stack.database.read(executions.get, execution)
    assert row is not None
    await stack.temporal.get_workflow_handle(row.workflow_id).cancel()
    await stack.start_worker()
    assert (await answer).status_code == 200
    assert statuses(await stack.finish(execution)) == {"ask": "cancelled", "after": "cancelled"}
    (entry,) = await audit(stack, execution, "execution.approve")
    assert entry["details"]["step"] == "ask"
