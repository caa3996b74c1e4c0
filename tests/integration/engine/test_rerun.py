"""Reruns: the same input and revision again, whole or from what had failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.integration.engine.test_blocks import by_id, echo, fails, sleeps, statuses
from tests.stack import Stack

EXECUTIONS = "/api/playbooks/executions"


async def rerun(stack: Stack, execution: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """The raw answer to a rerun."""
    return await stack.http.post(f"{EXECUTIONS}/{execution}/rerun", json=body or None, headers=headers)


def script(step_id: str, text: str, **fields: Any) -> dict[str, Any]:
    """A step whose outcome depends on the approval before it."""
    return {"id": step_id, "action_ref": "core.fail", "parameters": {"message": text}, **fields}


FLAKY: list[dict[str, Any]] = [
    {"id": "set", "type": "set", "vars": {"n": 7}},
    {"id": "choose", "type": "condition", "expression": "vars.n == 7", "on_true": "work", "on_false": "other"},
    echo("other"),
    echo("work", at="{{ execution.id }}"),
    {"id": "ask", "type": "approval"},
    echo("last", n="{{ vars.n }}", work="{{ steps.work.output.at }}"),
]
"""Fails when the approval is rejected, and completes when it is granted."""


async def rejected(stack: Stack, steps: list[dict[str, Any]] = FLAKY, index: int = 4, **definition: Any) -> str:
    """An execution of ``steps`` that has failed, since its approval was rejected."""
    execution = await stack.start(steps, **definition)
    await decide(stack, execution, "reject", index)
    assert (await stack.finish(execution))["status"] == "failed"
    return execution


async def decide(stack: Stack, execution: str, word: str, index: int = 4) -> None:
    """Approves or rejects the step ``ask``, as soon as it waits."""
    await stack.until_step(execution, index, "running")
    async with asyncio.timeout(60):
        while (await stack.http.post(f"{EXECUTIONS}/{execution}/steps/ask/{word}")).status_code != 200:
            await asyncio.sleep(0.02)


async def test_from_failed_keeps_what_was_done(stack: Stack) -> None:
    """Completed steps keep results and times, are marked, and their variables and ways hold."""
    first = await rejected(stack)
    before = await stack.status(first)
    answer = await rerun(stack, first, **{"from": "failed"})
    assert answer.status_code == 202, answer.text
    fresh = answer.json()
    assert answer.headers["location"] == f"{EXECUTIONS}/{fresh['execution_id']}"
    assert (fresh["status"], fresh["rerun_of"], fresh["steps"][3]["status"]) == ("pending", first, "completed")
    second = fresh["execution_id"]
    await decide(stack, second, "approve")
    done = await stack.finish(second)
    found = by_id(done)
    assert statuses(done) == {
        "set": "completed",
        "choose": "completed",
        "other": "skipped",
        "work": "completed",
        "ask": "completed",
        "last": "completed",
    }
    assert found["last"]["output"] == {"n": 7, "work": first}
    assert [step["action_id"] for step in done["steps"] if step.get("kept")] == ["set", "choose", "work"]
    assert found["work"]["started_at"] == before["steps"][3]["started_at"]
    assert (done["parameters"], done["revision"]) == (before["parameters"], before["revision"])


async def test_whole(stack: Stack) -> None:
    """Without `from` every step runs again, under the revision of the first run."""
    first = await rejected(stack)
    playbook = (await stack.status(first))["playbook_id"]
    changed = {"name": (await stack.http.get(f"/api/playbooks/{playbook}")).json()["name"], "steps": [echo("new")]}
    assert (await stack.http.put(f"/api/playbooks/{playbook}", json=changed)).status_code == 200
    second = (await rerun(stack, first)).json()["execution_id"]
    await decide(stack, second, "approve")
    done = await stack.finish(second)
    assert by_id(done)["last"]["output"] == {"n": 7, "work": second}
    assert (done["revision"], [step for step in done["steps"] if step.get("kept")]) == (1, [])


async def test_iterations_that_completed_are_kept(stack: Stack) -> None:
    """A loop is entered again, and only what had failed in it is run."""
    each: dict[str, Any] = {
        "id": "each",
        "type": "foreach",
        "items": [0, 1, 2, 3],
        "concurrency": 4,
        "steps": [
            echo("who", by="{{ execution.id }}"),
            {"id": "ask", "type": "approval", "when": "item == 2", "timeout": "500ms"},
            echo("out", by="{{ steps.who.output.by }}"),
        ],
    }
    execution = await stack.start([{**each, "on_failure": "continue"}, script("bad", "no")])
    first = await stack.finish(execution)
    assert by_id(first)["each"]["iterations"]["completed"] == 3
    second = await stack.finish((await rerun(stack, execution, **{"from": "failed"})).json()["execution_id"])
    results = by_id(second)["each"]["output"]["results"]
    assert [result and result["by"] for result in results] == [execution, execution, None, execution]
    assert by_id(second)["who"]["runs"]["completed"] == 1
    assert by_id(second)["each"]["iterations"]["total"] == 4


async def test_iterations_of_other_items_are_not_kept(stack: Stack) -> None:
    """A result counts for its item: another item at its place is gone through, and its old record is not shown."""
    inner = {"id": "inner", "type": "foreach", "items": ["{{ item }}"], "steps": [echo("say", it="{{ item }}")]}
    bad = fails("bad", when="item == 'bad'")
    loop = {"id": "each", "type": "foreach", "items": "{{ ['same', execution.id, 'bad'] }}", "steps": [inner, bad]}
    first = await stack.start([loop])
    assert (await stack.finish(first))["status"] == "failed"
    second = (await rerun(stack, first, **{"from": "failed"})).json()["execution_id"]
    found = by_id(await stack.finish(second, include="io,iterations"))
    each, say = found["each"], found["say"]
    assert [one["results"][0]["it"] for one in each["output"]["results"][:2]] == ["same", second]
    assert [row["iteration"] for row in each["iteration_records"]] == ["0", "1", "2"]
    assert [row["iteration"] for row in found["inner"]["iteration_records"]] == ["0.0", "1.0", "2.0"]
    assert [row["steps"][0].get("kept", False) for row in each["iteration_records"]] == [True, False, False]
    assert say["runs"]["completed"] == 2
    # The rerun of a rerun knows the items too.
    third = (await rerun(stack, second, **{"from": "failed"})).json()["execution_id"]
    output = by_id(await stack.finish(third, include="io"))["each"]["output"]
    assert [one["results"][0]["it"] for one in output["results"][:2]] == ["same", third]


async def test_a_completed_block_is_kept_whole(stack: Stack) -> None:
    """With everything inside of it."""
    loop = {"id": "each", "type": "foreach", "items": [1, 2], "steps": [echo("leaf", by="{{ execution.id }}")]}
    both = {"id": "both", "type": "parallel", "branches": [[loop], [echo("side", by="{{ execution.id }}")]]}
    first = await rejected(stack, [both, {"id": "ask", "type": "approval"}], 4)
    second = (await rerun(stack, first, **{"from": "failed"})).json()["execution_id"]
    await decide(stack, second, "approve", 4)
    done = await stack.finish(second)
    assert by_id(done)["side"]["output"] == {"by": first}
    assert by_id(done)["leaf"]["runs"]["completed"] == 2
    assert [step["action_id"] for step in done["steps"] if step.get("kept")] == ["both", "each", "leaf", "side"]


async def test_a_cancelled_run_goes_on_where_it_was(stack: Stack) -> None:
    """What the cancel had stopped runs; what was done is kept."""
    first = await stack.start([echo("a", by="{{ execution.id }}"), sleeps("slow", 0.5), echo("z")])
    await stack.until_step(first, 1, "running")
    await stack.cancel(first)
    async with asyncio.timeout(60):
        while (answer := await rerun(stack, first, **{"from": "failed"})).status_code == 409:
            await asyncio.sleep(0.05)
    done = await stack.finish(answer.json()["execution_id"])
    assert (done["status"], by_id(done)["a"]["output"]) == ("completed", {"by": first})


async def test_of_a_run_that_has_not_ended(stack: Stack) -> None:
    """409 names it."""
    execution = await stack.start([sleeps("slow", 60)])
    answer = await rerun(stack, execution)
    assert (answer.status_code, answer.json()["error"]["execution_id"]) == (409, execution)
    await stack.cancel(execution)


async def test_the_conflict_rule_holds(stack: Stack) -> None:
    """Of many reruns at once one starts."""
    first = await rejected(stack)
    answers = await asyncio.gather(*[rerun(stack, first) for _ in range(10)])
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9
    started = next(answer for answer in answers if answer.status_code == 202).json()["execution_id"]
    await stack.cancel(started)


async def test_one_key_one_rerun(stack: Stack) -> None:
    """The same `Idempotency-Key` returns the same execution; with another body it is refused."""
    first = await rejected(stack)
    key = {"Idempotency-Key": "again"}
    one, two = await rerun(stack, first, key), await rerun(stack, first, key)
    assert (one.status_code, two.status_code) == (202, 202)
    assert one.json()["execution_id"] == two.json()["execution_id"]
    other = await rerun(stack, first, key, **{"from": "failed"})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    await stack.cancel(one.json()["execution_id"])


@pytest.mark.parametrize(("execution", "body", "status"), [("exec-none", {}, 404), ("exec-none", {"from": "x"}, 400)])
async def test_refused(stack: Stack, execution: str, body: dict[str, Any], status: int) -> None:
    """An unknown execution is 404, an unknown origin 400."""
    assert (await rerun(stack, execution, **body)).status_code == status


async def again(stack: Stack, execution: str, include: str = "io") -> dict[str, Any]:
    """The end of a rerun from what had failed, begun as soon as the run has closed."""
    async with asyncio.timeout(60):
        while (answer := await rerun(stack, execution, **{"from": "failed"})).status_code == 409:
            await asyncio.sleep(0.05)
    assert answer.status_code == 202, answer.text
    return await stack.finish(answer.json()["execution_id"], include=include)


async def test_a_handler_handles_the_new_failure(stack: Stack) -> None:
    """What a failure had jumped to is not kept, nor what came after it: it is for the failure of its own run."""
    steps = [
        fails("patch", on_failure="undo"),
        {**echo("proud"), "on_success": "end"},
        {**echo("undo", by="{{ execution.id }}"), "run": "on_failure_only"},
        echo("tell", by="{{ execution.id }}"),
    ]
    first = await stack.start(steps)
    await stack.finish(first)
    done = await again(stack, first)
    assert [by_id(done)[name]["output"] for name in ("undo", "tell")] == [{"by": done["execution_id"]}] * 2


async def test_a_handler_is_not_kept_where_nothing_fails(stack: Stack) -> None:
    """It reads `skipped` in a rerun in which the step succeeds; in a branch too."""
    ask = {"id": "ask", "type": "approval", "on_failure": "undo"}
    branch = [ask, {**echo("undo"), "run": "on_failure_only"}, fails("bad", when="steps.ask.status == 'failed'")]
    side = [echo("side", by="{{ execution.id }}")]
    first = await stack.start([{"id": "both", "type": "parallel", "branches": [branch, side]}])
    await decide(stack, first, "reject", 1)
    assert (await stack.finish(first))["status"] == "failed"
    second = (await rerun(stack, first, **{"from": "failed"})).json()["execution_id"]
    await decide(stack, second, "approve", 1)
    done = await stack.finish(second)
    assert statuses(done) == {
        "both": "completed",
        "ask": "completed",
        "undo": "skipped",
        "bad": "skipped",
        "side": "completed",
    }
    assert by_id(done)["side"]["output"] == {"by": first}


async def test_a_failure_that_is_kept_says_why(stack: Stack) -> None:
    """Inside of a block that completed: expressions see the same as in the first run."""
    both = {"id": "both", "type": "parallel", "branches": [[fails("bad", on_failure="continue")]]}
    steps = [both, fails("last"), echo("never")]
    always = [echo("why", text="{{ steps.bad.error.message }}")]
    first = await stack.start(steps, always=always)
    await stack.finish(first)
    assert by_id(await again(stack, first))["why"]["output"] == {"text": "bad broke"}


async def test_of_a_rerun(stack: Stack) -> None:
    """Iterations that the first run completed are kept by the third too, with their records."""
    each: dict[str, Any] = {
        "id": "each",
        "type": "foreach",
        "items": [0, 1, 2, 3],
        "on_failure": "continue",
        "steps": [
            {"id": "inner", "type": "foreach", "items": [7], "steps": [echo("who", by="{{ execution.id }}")]},
            {**fails("no"), "when": "item == 2"},
        ],
        "output": "{{ steps.inner.output.results[0].by }}",
    }
    first = await stack.start([each, fails("bad")])
    await stack.finish(first)
    third = await again(stack, (await again(stack, first))["execution_id"], include="io,iterations")
    assert by_id(third)["each"]["output"]["results"] == [first, first, None, first]
    records = by_id(third)["each"]["iteration_records"]
    assert [(one["iteration"], one["status"]) for one in sorted(records, key=lambda one: one["iteration"])] == [
        ("0", "completed"),
        ("1", "completed"),
        ("2", "failed"),
        ("3", "completed"),
    ]
    inner = by_id(third)["inner"]["iteration_records"]
    assert sorted(one["iteration"] for one in inner) == ["0.0", "1.0", "2.0", "3.0"]
    kept = {one["iteration"]: one["steps"][0].get("kept", False) for one in inner}
    assert kept == {"0.0": True, "1.0": True, "2.0": False, "3.0": True}


async def test_a_cancelled_loop_goes_on_where_it_was(stack: Stack) -> None:
    """The iterations that had completed before the cancel are kept."""
    nap = {**sleeps("nap", 3), "when": "item == 2"}
    who = echo("who", by="{{ execution.id }}")
    each = {"id": "each", "type": "foreach", "items": [0, 1, 2], "steps": [nap, who]}
    first = await stack.start([each])
    async with asyncio.timeout(60):
        while (by_id(await stack.status(first))["each"].get("iterations") or {}).get("completed") != 2:
            await asyncio.sleep(0.02)
    assert (await stack.cancel(first)).status_code == 200
    done = await again(stack, first)
    results = by_id(done)["each"]["output"]["results"]
    assert [result["by"] for result in results] == [first, first, done["execution_id"]]


async def test_it_takes_the_sub_playbooks_at_the_same_revisions(stack: Stack) -> None:
    """Also where a run is repeated that a parent had started, and where the rerun is repeated."""
    leaf = await stack.playbook([echo("x", v=1)], outputs={"v": "{{ steps.x.output.v }}"})
    calls = [{"id": "sub", "type": "playbook", "playbook": leaf["slug"]}]
    middle = await stack.playbook(calls, outputs={"v": "{{ steps.sub.output.outputs.v }}"})
    first = await stack.finish(await stack.start([{**calls[0], "playbook": middle["slug"]}]))
    inner = by_id(first)["sub"]["execution_id"]
    changed = {"name": leaf["name"], "steps": [echo("x", v=2)], "outputs": {"v": "{{ steps.x.output.v }}"}}
    assert (await stack.http.put(f"/api/playbooks/{leaf['id']}", json=changed)).status_code == 200
    again = await stack.finish((await rerun(stack, first["execution_id"])).json()["execution_id"])
    third = await stack.finish((await rerun(stack, again["execution_id"])).json()["execution_id"])
    alone = await stack.finish((await rerun(stack, inner)).json()["execution_id"])
    assert [by_id(run)["sub"]["output"]["outputs"] for run in (first, again, third, alone)] == [{"v": 1}] * 4
    fresh = await stack.start([{**calls[0], "playbook": middle["slug"]}])
    assert by_id(await stack.finish(fresh))["sub"]["output"]["outputs"] == {"v": 2}


async def test_of_a_rerun_with_steps_that_have_no_input(stack: Stack) -> None:
    """Conditions and loops are kept with their outputs and iterations, however often the run is repeated."""
    steps = [
        {"id": "choose", "type": "condition", "expression": "true", "on_true": "each"},
        echo("over"),
        {"id": "each", "type": "foreach", "items": [1, 2], "steps": [echo("leaf", by="{{ execution.id }}")]},
        {"id": "again", "type": "while", "expression": "index < 1", "steps": [echo("turn")]},
        fails("bad"),
    ]
    first = await stack.start(steps)
    before = by_id(await stack.finish(first, include="io,iterations"))
    second = await again(stack, first, include="io,iterations")
    third = await again(stack, second["execution_id"], include="io,iterations")
    for done in (second, third):
        found = by_id(done)
        assert (done["status"], found["over"]["status"], found["choose"]["output"]) == (
            "failed",
            "skipped",
            {"result": True},
        )
        assert [found[name]["output"] for name in ("each", "again")] == [
            before[name]["output"] for name in ("each", "again")
        ]
        assert [len(found[name]["iteration_records"]) for name in ("each", "again")] == [2, 1]
        assert found["each"]["iteration_records"][0]["steps"][0]["kept"] is True
