"""Lists, comparison, inputs and outputs, and idempotent starts of executions (API.md §1)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.stack import Stack

EXECUTIONS = "/api/playbooks/executions"
ECHO = {"id": "echo", "action_ref": "core.echo", "parameters": {"x": 1}}
FAIL = {"id": "bad", "action_ref": "core.fail", "parameters": {"message": "no"}}
SECRET = "hunter2-hunter2"


async def listed(stack: Stack, **query: Any) -> dict[str, Any]:
    """One page of a list."""
    answer = await stack.http.get(EXECUTIONS, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_lists_are_narrowed_and_paged(stack: Stack) -> None:
    """By playbook, asset, state and kind; newest first."""
    good, bad = await stack.playbook([ECHO]), await stack.playbook([FAIL])
    one, two = await stack.asset(), await stack.asset()
    made = []
    for playbook, asset, dry_run in ((good, one, False), (good, two, True), (bad, one, False)):
        started = (await stack.post_run(playbook["id"], asset["id"], dry_run=dry_run)).json()
        await stack.finish(started["execution_id"])
        made.append(started["execution_id"])
    assert [entry["execution_id"] for entry in (await listed(stack))["data"]] == made[::-1]
    for query, expected in (
        ({"playbook_id": good["id"]}, made[:2]),
        ({"playbook_id": good["slug"]}, made[:2]),
        ({"target_asset_id": one["id"]}, [made[0], made[2]]),
        ({"status": "failed"}, [made[2]]),
        ({"dry_run": "true"}, [made[1]]),
        ({"playbook_id": bad["id"], "status": "completed"}, []),
    ):
        page = await listed(stack, **query)
        assert [entry["execution_id"] for entry in page["data"]] == expected[::-1], query
        assert page["meta"] == {"total": len(expected), "page": 1, "per_page": 20}
    second = await listed(stack, page=2, per_page=2)
    assert ([entry["execution_id"] for entry in second["data"]], second["meta"]["total"]) == ([made[0]], 3)
    own = (await stack.http.get(f"/api/playbooks/{good['slug']}/executions")).json()
    assert own["meta"]["total"] == 2


@pytest.mark.parametrize("query", [{"page": 0}, {"per_page": 101}, {"status": "done"}, {"dry_run": "x"}, {"x": 1}])
async def test_a_wrong_list_is_refused(stack: Stack, query: dict[str, Any]) -> None:
    """400 names the parameter, so that a misspelt filter never lists everything."""
    answer = await stack.http.get(EXECUTIONS, params=query)
    assert (answer.status_code, next(iter(query)) in answer.text) == (400, True)


async def test_open_executions_are_listed_by_their_state(stack: Stack) -> None:
    """Pending and running are told apart, though only Temporal knows."""
    running = await stack.start([{"id": "ask", "type": "approval"}])
    await stack.until_step(running, 0, "running")
    await stack.stop_worker()
    pending = await stack.start([ECHO])
    assert [entry["execution_id"] for entry in (await listed(stack, status="pending"))["data"]] == [pending]
    assert [entry["execution_id"] for entry in (await listed(stack, status="running"))["data"]] == [running]


async def test_secret_parameters_are_masked(stack: Stack) -> None:
    """Wherever they stand: in the parameters, in inputs and outputs, in the run's own outputs, in iterations."""
    definition = {
        "parameters": [{"name": "password", "type": "secret", "required": True}],
        "outputs": {"told": "{{ steps.echo.output.x }}"},
    }
    steps = [
        {**ECHO, "parameters": {"x": "it is {{ parameters.password }}"}},
        {
            "id": "each",
            "type": "foreach",
            "items": "[parameters.password]",
            "steps": [{**ECHO, "id": "in", "parameters": {"y": "{{ item }}"}}],
        },
    ]
    execution = await stack.start(steps, run={"parameters": {"password": SECRET}}, **definition)
    status = await stack.finish(execution, include="io,iterations")
    assert status["parameters"] == {"password": "***"}
    assert status["steps"][0]["output"] == {"x": "it is ***"}
    assert status["outputs"] == {"told": "it is ***"}
    answer = await stack.http.get(f"{EXECUTIONS}/{execution}", params={"include": "io,iterations"})
    assert SECRET not in answer.text
    compared = await stack.http.get(f"{EXECUTIONS}/{execution}/compare/{execution}")
    assert (compared.status_code, SECRET in compared.text) == (200, False)


async def test_a_rehearsal_against_the_run(stack: Stack) -> None:
    """Step by step, with what differs and where."""
    steps = [ECHO, {"id": "nap", "action_ref": "core.sleep", "parameters": {"seconds": 0}}]
    playbook, asset = await stack.playbook(steps), await stack.asset()
    made = []
    for dry_run in (True, False):
        started = (await stack.post_run(playbook["id"], asset["id"], dry_run=dry_run)).json()["execution_id"]
        await stack.finish(started)
        made.append(started)
    compared = (await stack.http.get(f"{EXECUTIONS}/{made[0]}/compare/{made[1]}")).json()
    assert [step["action_id"] for step in compared["steps"]] == ["echo", "nap"]
    assert (compared["left"]["dry_run"], compared["right"]["dry_run"]) == (True, False)
    assert all(step["same"] for step in compared["steps"])
    other = await stack.start([ECHO])
    await stack.finish(other)
    refused = await stack.http.get(f"{EXECUTIONS}/{made[0]}/compare/{other}")
    assert refused.status_code == 400


async def test_one_key_one_run(stack: Stack) -> None:
    """Of many requests with one key one starts; another body is refused; after the end it still finds the first."""
    playbook, asset = await stack.playbook([ECHO]), await stack.asset()
    key = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(*[stack.post_run(playbook["id"], asset["id"], key) for _ in range(10)])
    assert {answer.status_code for answer in answers} == {202}
    (execution,) = {answer.json()["execution_id"] for answer in answers}
    other = await stack.post_run(playbook["id"], asset["id"], key, dry_run=True)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    await stack.finish(execution)
    again = await stack.post_run(playbook["id"], asset["id"], key)
    assert (again.status_code, again.json()["execution_id"]) == (202, execution)
    assert (await listed(stack, playbook_id=playbook["id"]))["meta"]["total"] == 1


@pytest.mark.parametrize("include", ["x", "io,x", "io,", ""])
async def test_an_unknown_include(stack: Stack, include: str) -> None:
    """400 rather than less than was asked for."""
    answer = await stack.http.get(f"{EXECUTIONS}/exec-none", params={"include": include})
    assert answer.status_code == 400


async def test_a_closed_execution_reads_the_same_for_ever(stack: Stack) -> None:
    """From the database, and from memory."""
    execution = await stack.start([ECHO])
    await stack.finish(execution)
    url = f"{EXECUTIONS}/{execution}"
    bodies = {(await stack.http.get(url)).content for _ in range(3)}
    assert len(bodies) == 1
    with_io = (await stack.http.get(url, params={"include": "io"})).json()
    assert with_io["steps"][0]["output"] == {"x": 1}
