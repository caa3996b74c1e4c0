"""Blocks: parallel, foreach and while, nested, with failures inside of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.stack import Stack

ECHO = {"action_ref": "core.echo"}


def echo(step_id: str, **parameters: Any) -> dict[str, Any]:
    """A step that answers with its parameters."""
    return {"id": step_id, "action_ref": "core.echo", "parameters": parameters}


def fails(step_id: str, **fields: Any) -> dict[str, Any]:
    """A step that fails."""
    return {"id": step_id, "action_ref": "core.fail", "parameters": {"message": f"{step_id} broke"}, **fields}


def sleeps(step_id: str, seconds: float) -> dict[str, Any]:
    """A step that takes its time."""
    return {"id": step_id, "action_ref": "core.sleep", "parameters": {"seconds": seconds}}


def by_id(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The steps of a status by their ids."""
    return {step["action_id"]: step for step in status["steps"]}


def statuses(status: dict[str, Any]) -> dict[str, str]:
    """The states of the steps by their ids."""
    return {step["action_id"]: step["status"] for step in status["steps"]}


async def run(stack: Stack, steps: list[dict[str, Any]], include: str = "io", **definition: Any) -> dict[str, Any]:
    """The status of a run at its end."""
    return await stack.finish(await stack.start(steps, **definition), include=include)


async def test_branches_run_side_by_side(stack: Stack) -> None:
    """Each branch waits for the other, and neither for its end; the block gives the outputs of its steps."""
    steps = [
        {
            "id": "both",
            "type": "parallel",
            "branches": [
                [sleeps("a", 1), echo("a2", x="{{ steps.a.output.slept }}")],
                {"name": "second", "steps": [sleeps("b", 1)]},
                echo("c", y=1),
            ],
        },
        echo("after", sum="{{ steps.both.output.a2.x + steps.b.output.slept }}"),
    ]
    status = await run(stack, steps)
    assert set(statuses(status).values()) == {"completed"}
    assert [(step["action_id"], step["parent"], step["index"]) for step in status["steps"]] == [
        ("both", None, 0),
        ("a", "both", 1),
        ("a2", "both", 2),
        ("b", "both", 3),
        ("c", "both", 4),
        ("after", None, 5),
    ]
    found = by_id(status)
    assert found["b"]["started_at"] < found["a"]["finished_at"]
    assert found["after"]["output"] == {"sum": 2}
    assert found["both"]["output"] == {"a": {"slept": 1}, "a2": {"x": 1}, "b": {"slept": 1}, "c": {"y": 1}}


async def test_a_failing_branch_stops_the_others(stack: Stack) -> None:
    """With `abort` the sibling at work is cancelled, what it had before it is skipped, and the run fails."""
    branches = [[sleeps("slow", 30), echo("never")], [echo("quick"), fails("bad"), echo("behind")]]
    status = await run(stack, [{"id": "both", "type": "parallel", "branches": branches}, echo("after")])
    assert status["status"] == "failed"
    assert statuses(status) == {
        "both": "failed",
        "slow": "cancelled",
        "never": "skipped",
        "quick": "completed",
        "bad": "failed",
        "behind": "skipped",
        "after": "skipped",
    }
    assert status["error"]["message"] == "step both failed: step bad failed: bad broke"
    assert "bad broke" in by_id(status)["slow"]["reason"]


async def test_branches_may_finish(stack: Stack) -> None:
    """With `continue` the others run to their end, the block is failed, and the run goes on."""
    branches = [[sleeps("slow", 0.2), echo("then", x=1)], [fails("bad")]]
    steps = [
        {"id": "both", "type": "parallel", "branches": branches, "on_failure": "continue"},
        echo("after", code="{{ steps.bad.error.code }}", state="{{ steps.both.status }}"),
    ]
    status = await run(stack, steps)
    assert status["status"] == "completed"
    assert statuses(status) == {
        "both": "failed",
        "slow": "completed",
        "then": "completed",
        "bad": "failed",
        "after": "completed",
    }
    assert by_id(status)["after"]["output"] == {"code": "failed", "state": "failed"}


async def test_a_handler_stays_inside_its_block(stack: Stack) -> None:
    """A failure that is handled inside of a branch is none of the block's."""
    branch = [fails("bad", on_failure="mend"), echo("over"), {**echo("mend"), "run": "on_failure_only"}]
    status = await run(stack, [{"id": "both", "type": "parallel", "branches": [branch, [echo("other")]]}])
    assert status["status"] == "completed"
    assert statuses(status) == {
        "both": "completed",
        "bad": "failed",
        "over": "skipped",
        "mend": "completed",
        "other": "completed",
    }


async def test_foreach_gives_results_in_order(stack: Stack) -> None:
    """Each iteration sees its item and number; results stand in the order of the items."""
    steps = [
        echo("list", hosts=[{"name": "a"}, {"name": "b"}, {"name": "c"}]),
        {
            "id": "each",
            "type": "foreach",
            "items": "{{ steps.list.output.hosts }}",
            "concurrency": 2,
            "steps": [
                echo("first", text="{{ index }}:{{ item.name }}"),
                echo("second", text="{{ steps.first.output.text }}!"),
            ],
        },
        echo("after", all="{{ steps.each.output.results.map(r, r.text) }}"),
    ]
    status = await run(stack, steps, include="io,iterations")
    found = by_id(status)
    assert found["after"]["output"] == {"all": ["0:a!", "1:b!", "2:c!"]}
    assert found["each"]["iterations"] == {
        "total": 3,
        "running": 0,
        "completed": 3,
        "failed": 0,
        "skipped": 0,
        "cancelled": 0,
    }
    assert (found["second"]["status"], found["second"]["runs"]["completed"]) == ("completed", 3)
    records = {record["iteration"]: record for record in found["each"]["iteration_records"]}
    assert sorted(records) == ["0", "1", "2"]
    assert [step["action_id"] for step in records["1"]["steps"]] == ["first", "second"]
    assert {step["status"] for step in records["1"]["steps"]} == {"completed"}


async def test_foreach_aborts_at_the_first_failure(stack: Stack) -> None:
    """No further iteration begins, and those at work are stopped."""
    body = [{**fails("bad"), "when": "item == 1"}, {**sleeps("slow", 30), "when": "item == 0"}, echo("ok")]
    each = {"id": "each", "type": "foreach", "items": "[0, 1, 2, 3]", "concurrency": 2, "steps": body}
    status = await run(stack, [each, echo("after")], include="io,iterations")
    found = by_id(status)
    assert (status["status"], found["each"]["status"], found["after"]["status"]) == ("failed", "failed", "skipped")
    tally = found["each"]["iterations"]
    assert (tally["total"], tally["completed"], tally["failed"], tally["cancelled"]) == (4, 0, 1, 1)
    assert found["each"]["failures"] == [
        {"iteration": "1", "error": {"code": "failed", "message": "step bad failed: bad broke"}}
    ]
    assert found["ok"]["status"] == "skipped"


async def test_foreach_keeps_failures_as_data(stack: Stack) -> None:
    """With `continue` every iteration runs, and the failures stand in the output."""
    body = [{**fails("bad"), "when": "item % 2 == 1"}, echo("ok", n="{{ item }}")]
    each = {
        "id": "each",
        "type": "foreach",
        "items": [0, 1, 2, 3],
        "concurrency": 4,
        "on_failure": "continue",
        "output": {"n": "{{ steps.ok.output.n * 10 }}"},
        "steps": body,
    }
    status = await run(stack, [each, echo("after", f="{{ steps.each.output.failures.map(f, f.index) }}")])
    found = by_id(status)
    assert status["status"] == "completed"
    assert found["each"]["output"]["results"] == [{"n": 0}, None, {"n": 20}, None]
    assert found["after"]["output"] == {"f": [1, 3]}
    assert found["bad"]["runs"] == {"running": 0, "completed": 0, "failed": 2, "skipped": 2, "cancelled": 0}


@pytest.mark.parametrize(
    ("items", "message"),
    [("{{ {'a': 1} }}", "where a list is needed"), ("{{ parameters.none }}", "no such key")],
)
async def test_items_that_are_no_list_fail_the_step(stack: Stack, items: str, message: str) -> None:
    """The loop says what is wrong."""
    definition = {"parameters": {"type": "object", "properties": {"none": {"type": "array"}}}}
    status = await run(stack, [{"id": "each", "type": "foreach", "items": items, "steps": [ECHO]}], **definition)
    assert message in status["error"]["message"]
    assert statuses(status)["act-002"] == "skipped"


async def test_no_items_no_iterations(stack: Stack) -> None:
    """A loop over nothing completes, and its steps are skipped."""
    status = await run(stack, [{"id": "each", "type": "foreach", "items": [], "steps": [echo("inner")]}])
    assert statuses(status) == {"each": "completed", "inner": "skipped"}
    assert by_id(status)["each"]["output"]["results"] == []


async def test_while_sees_what_the_last_iteration_left(stack: Stack) -> None:
    """The expression is asked before each iteration."""
    steps = [
        {"id": "start", "type": "set", "vars": {"n": 0}},
        {
            "id": "again",
            "type": "while",
            "expression": "steps.turn.status == 'pending' || steps.turn.output.n < 3",
            "steps": [{"id": "turn", "type": "set", "vars": {"n": "{{ vars.n + 1 }}"}}],
        },
        echo("after", n="{{ vars.n }}", count="{{ steps.again.output.count }}"),
    ]
    status = await run(stack, steps)
    assert by_id(status)["after"]["output"] == {"n": 3, "count": 3}
    assert by_id(status)["turn"]["runs"]["completed"] == 3


async def test_while_ends_at_its_limit(stack: Stack) -> None:
    """An expression that holds for ever fails the step."""
    again = {"id": "again", "type": "while", "expression": "true", "max_iterations": 5, "steps": [echo("x")]}
    status = await run(stack, [again])
    assert status["error"]["code"] == "max_iterations"
    assert by_id(status)["again"]["iterations"]["completed"] == 5


async def test_blocks_in_blocks(stack: Stack) -> None:
    """A loop in a branch in a loop: names of the outer loops are seen inside, and every iteration has its number."""
    inner = {
        "id": "inner",
        "type": "foreach",
        "items": "{{ item.ports }}",
        "steps": [echo("leaf", port="{{ item }}", host="{{ steps.host.output.name }}")],
    }
    outer = {
        "id": "outer",
        "type": "foreach",
        "items": [{"name": "a", "ports": [1, 2]}, {"name": "b", "ports": [3]}],
        "concurrency": 2,
        "steps": [
            echo("host", name="{{ item.name }}"),
            {"id": "both", "type": "parallel", "branches": [[inner], [echo("side")]]},
            echo("sum", all="{{ steps.inner.output.results.map(r, r.host + string(r.port)) }}"),
        ],
    }
    status = await run(stack, [outer], include="io,iterations")
    found = by_id(status)
    assert [result["all"] for result in found["outer"]["output"]["results"]] == [["a1", "a2"], ["b3"]]
    assert sorted(record["iteration"] for record in found["inner"]["iteration_records"]) == ["0.0", "0.1", "1.0"]
    assert (found["leaf"]["runs"]["completed"], found["inner"]["iterations"]["total"]) == (3, 3)


async def test_end_leaves_the_list_around_it(stack: Stack) -> None:
    """`end` in the body of a loop ends the iteration, not the run."""
    body = [{"type": "condition", "expression": "item == 1", "on_true": "end"}, echo("inner", n="{{ item }}")]
    status = await run(stack, [{"id": "each", "type": "foreach", "items": [0, 1, 2], "steps": body}, echo("after")])
    assert status["status"] == "completed"
    assert by_id(status)["inner"]["runs"]["completed"] == 2
    assert statuses(status)["after"] == "completed"


@pytest.mark.parametrize("kind", ["parallel", "foreach", "while"])
async def test_a_cancel_reaches_what_is_inside(stack: Stack, kind: str) -> None:
    """Steps at work inside of a block are cancelled, those that never began too; the completed ones stay."""
    body = [echo("done"), sleeps("work", 60), echo("later")]
    block: dict[str, Any] = {
        "parallel": {"type": "parallel", "branches": [body, [sleeps("beside", 60)]]},
        "foreach": {"type": "foreach", "items": [1, 2], "concurrency": 2, "steps": body},
        "while": {"type": "while", "expression": "true", "steps": body},
    }[kind]
    execution = await stack.start([{"id": "block", **block}, echo("after")])
    await stack.until_step(execution, 2, "running")
    cancelled = (await stack.cancel(execution)).json()
    assert cancelled["status"] == "cancelled"
    status = await stack.finish(execution)
    found = statuses(status)
    assert (found["block"], found["work"], found["later"], found["after"]) == ("cancelled",) * 4
    assert found["done"] == "completed"


async def test_always_runs_after_success_and_failure(stack: Stack) -> None:
    """Its steps know how the run has ended."""
    always = [echo("tell", state="{{ execution.status }}", error="{{ execution.error }}")]
    good = await run(stack, [echo("a")], always=always)
    bad = await run(stack, [fails("a"), echo("b")], always=always)
    assert (good["status"], by_id(good)["tell"]["output"]) == ("completed", {"state": "completed", "error": None})
    assert (bad["status"], statuses(bad)) == ("failed", {"a": "failed", "b": "skipped", "tell": "completed"})
    assert by_id(bad)["tell"]["output"]["error"] == {"code": "failed", "message": "step a failed: a broke"}


async def test_always_runs_after_the_time_limit(stack: Stack) -> None:
    """The limit stops the steps of the playbook, not those of `always`."""
    steps = [{"id": "both", "type": "parallel", "branches": [[sleeps("slow", 60)], [echo("quick")]]}, echo("after")]
    status = await run(stack, steps, always=[sleeps("tidy", 0.2)], timeout_minutes=0.02)
    assert (status["status"], status["error"]["code"]) == ("failed", "timed_out")
    assert statuses(status) == {
        "both": "failed",
        "slow": "failed",
        "quick": "completed",
        "after": "skipped",
        "tidy": "completed",
    }


async def test_always_does_not_run_after_a_cancel(stack: Stack) -> None:
    """A cancel ends the run, and that is all."""
    execution = await stack.start([sleeps("slow", 60)], always=[echo("tidy")])
    await stack.until_step(execution, 0, "running")
    await stack.cancel(execution)
    assert statuses(await stack.finish(execution)) == {"slow": "cancelled", "tidy": "cancelled"}


async def test_a_failure_in_always_fails_the_run(stack: Stack) -> None:
    """What must always be done and was not is a failure."""
    status = await run(stack, [echo("a")], always=[fails("tidy")])
    assert (status["status"], status["error"]["message"]) == ("failed", "step tidy failed: tidy broke")


async def test_a_rehearsal_of_blocks(stack: Stack) -> None:
    """The same ways, nothing waited for."""
    steps = [
        {"id": "ask", "type": "approval", "message": "Patch {{ asset.name }}?", "approvers": ["boss"]},
        {"id": "each", "type": "foreach", "items": [1, 2], "steps": [{"type": "delay", "duration": "1h"}]},
    ]
    status = await stack.finish(await stack.start(steps, run={"dry_run": True}), include="io")
    assert status["status"] == "completed"
    assert by_id(status)["ask"]["would"] == "would ask boss: Patch web-01?"


async def test_blocks_survive_a_worker(stack: Stack) -> None:
    """Another worker goes on in the middle of nested blocks."""
    body = [sleeps("a", 0.3), echo("b", n="{{ item }}")]
    each = {"id": "each", "type": "foreach", "items": "[0, 1, 2, 3, 4, 5]", "concurrency": 2, "steps": body}
    execution = await stack.start([{"id": "both", "type": "parallel", "branches": [[each], [sleeps("c", 1)]]}])
    await stack.until_step(execution, 1, "running")
    await asyncio.sleep(0.5)
    await stack.stop_worker()
    await stack.start_worker()
    status = await stack.finish(execution)
    assert status["status"] == "completed"
    assert [result["n"] for result in by_id(status)["each"]["output"]["results"]] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("tags", "asked"), [({"production": ""}, "completed"), ({"test": ""}, "skipped")])
async def test_a_playbook_in_the_words_of_s4e(stack: Stack, tags: dict[str, str], asked: str) -> None:
    """Its fields, step types and expressions, braces included, load and run as they are."""
    definition = {
        "name": f"In the words of S4E {asked}",
        "trigger": {
            "event": "finding.created",
            "conditions": [{"field": "severity", "operator": "eq", "value": "high"}],
        },
        "on_failure": "retry",
        "max_retries": 1,
        "timeout_minutes": 30,
        "steps": [
            {
                "id": "is-production",
                "type": "condition",
                "expression": "'production' in {{ finding.asset.tags }}",
                "on_true": "next",
                "on_false": "work",
            },
            {"id": "careful", "type": "action", "action_ref": "core.echo", "on_success": "next"},
            {
                "id": "work",
                "type": "parallel",
                "branches": [
                    [
                        {
                            "id": "one",
                            "type": "action",
                            "action_ref": "core.echo",
                            "parameters": {"id": "{{ finding.id }}"},
                        }
                    ],
                    [{"id": "two", "type": "delay", "duration": 0}],
                ],
                "on_success": "end",
            },
            {"id": "undo", "type": "action", "action_ref": "core.echo", "run": "on_failure_only"},
        ],
    }
    definition["steps"][2]["on_failure"] = "undo"
    playbook = (await stack.http.post("/api/playbooks", json=definition)).json()
    asset = await stack.asset(tags=tags)
    answer = await stack.post_run(playbook["id"], asset["id"], parameters={"finding": {"id": "F-1"}})
    assert answer.status_code == 202, answer.text
    status = await stack.finish(answer.json()["execution_id"])
    assert statuses(status) == {
        "is-production": "completed",
        "careful": asked,
        "work": "completed",
        "one": "completed",
        "two": "completed",
        "undo": "skipped",
    }
    assert by_id(status)["one"]["output"] == {"id": "F-1"}


@pytest.mark.parametrize("kind", ["parallel", "foreach"])
async def test_a_block_whose_when_cannot_be_evaluated(stack: Stack, kind: str) -> None:
    """The block fails, and what is inside of it is skipped, not left pending, in the run as in an iteration."""
    inside = {"parallel": {"branches": [[echo("inner")]]}, "foreach": {"items": [1], "steps": [echo("inner")]}}[kind]
    block = {"id": "block", "type": kind, "when": "asset.tags.none == 1", "on_failure": "continue", **inside}
    status = await run(stack, [block, echo("after")])
    assert statuses(status) == {"block": "failed", "inner": "skipped", "after": "completed"}
    assert by_id(status)["inner"]["reason"] == "block ended without it"
    looped = await run(stack, [{"id": "each", "type": "foreach", "items": [1], "steps": [block]}])
    assert statuses(looped) == {"each": "completed", "block": "failed", "inner": "skipped"}


async def test_what_an_iteration_gives_by_default(stack: Stack) -> None:
    """The output of the last step of its body that completed; of a block that is the block's, not an inner step's."""
    both = {"id": "both", "type": "parallel", "branches": [[echo("x", n=1)], [echo("y", n=2)]]}
    body = [echo("a", n=0), {**both, "when": "item == 1"}]
    status = await run(stack, [{"id": "each", "type": "foreach", "items": [1, 2], "steps": body}])
    assert by_id(status)["each"]["output"]["results"] == [{"x": {"n": 1}, "y": {"n": 2}}, {"n": 0}]


async def test_variables_that_change_later(stack: Stack) -> None:
    """What an expression gave of all of `vars` or `execution` stays as it was, in results and in recorded inputs."""
    steps = [
        echo("early", vars="{{ vars }}", execution="{{ execution }}"),
        {
            "id": "each",
            "type": "foreach",
            "items": [1, 2],
            "output": "{{ vars }}",
            "steps": [{"id": "assign", "type": "set", "vars": {"n": "{{ item }}"}}],
        },
    ]
    status = await run(stack, steps, always=[echo("last", state="{{ execution.status }}", vars="{{ vars }}")])
    found = by_id(status)
    assert found["each"]["output"]["results"] == [{"n": 1}, {"n": 2}]
    assert found["early"]["input"]["vars"] == {}
    assert set(found["early"]["input"]["execution"]) == {"id", "dry_run", "started_at"}
    assert found["last"]["output"] == {"state": "completed", "vars": {"n": 2}}


async def test_always_sees_how_the_run_ended_in_its_loops(stack: Stack) -> None:
    """In the expression of a `while`, and in what each iteration gives, as everywhere in `always`."""
    loop = {"id": "again", "type": "while", "expression": "execution.status == 'failed' && index < 2"}
    each = {"id": "each", "type": "foreach", "items": [1], "output": "{{ execution.error.code }}"}
    always = [{**loop, "steps": [echo("x")]}, {**each, "steps": [echo("y")]}]
    found = by_id(await run(stack, [fails("bad")], always=always))
    assert (found["again"]["output"]["count"], found["each"]["output"]["results"]) == (2, ["failed"])


async def test_the_time_limit_says_why_steps_of_blocks_never_began(stack: Stack) -> None:
    """Every skipped step has its reason, at any depth."""
    each = {"id": "each", "type": "foreach", "items": [1, 2], "steps": [sleeps("work", 60), echo("later")]}
    both = {"id": "both", "type": "parallel", "branches": [[sleeps("beside", 60), echo("behind")], [each]]}
    status = await run(stack, [both, echo("after")], timeout_minutes=0.02, include="iterations")
    found = by_id(status)
    assert {found[name]["status"] for name in ("behind", "later", "after")} == {"skipped"}
    assert {found[name]["reason"] for name in ("behind", "after")} == {"the run reached its time limit"}
    [record] = found["each"]["iteration_records"]
    assert [step["reason"] for step in record["steps"]] == [None, "the run reached its time limit"]
