"""Saves the history of one run of each kind to tests/histories/, for the replay tests.

Run it when a step type is added, never to make a failing replay pass: a run that began under the old code must go on
under the new.  Starts an embedded server of its own and ends it.

``--told`` saves no history anew, but what the runs of those that are there tell Temporal: run it when that is meant to
change, and read what has changed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = ROOT / "tests" / "histories"

ECHO = {"action_ref": "core.echo", "parameters": {"x": "{{ asset.name }}"}}
SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 0}}
LONG = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}
FAIL = {"action_ref": "core.fail", "parameters": {"message": "no"}}
MANY = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
HEAVY = f"{MANY}.all(a, {MANY}.all(b, parameters.numbers.all(c, a + b + c >= 0)))"

CHILD = "the child"
"""Stands for the slug of a playbook with the steps ``child``."""

SCHEDULE = "schedule"

RUNS: dict[str, dict[str, Any]] = {
    "quick_actions": {"steps": [ECHO, {**ECHO, "when": "false"}, ECHO]},
    "ordinary_actions": {"steps": [SLEEP, ECHO, SLEEP]},
    "condition": {
        "steps": [
            {"id": "ask", "name": "Ask", "type": "condition", "expression": "asset.type == 'host'", "on_true": "to"},
            {**ECHO, "id": "over"},
            {**ECHO, "id": "to"},
        ]
    },
    "delay": {"steps": [{"type": "delay", "name": "Wait", "duration": "100ms"}, ECHO]},
    "retry": {
        "steps": [
            {
                "action_ref": "core.fail",
                "parameters": {"message": "not yet", "times": 2},
                "retry": {"max_attempts": 3, "initial_interval": "50ms"},
            }
        ]
    },
    "abort": {"steps": [FAIL, ECHO]},
    "handler": {
        "steps": [{**FAIL, "id": "bad", "on_failure": "undo"}, {**ECHO, "id": "undo", "run": "on_failure_only"}]
    },
    "step_timeout": {"steps": [{**LONG, "timeout": "100ms"}]},
    "run_timeout": {"steps": [LONG, ECHO], "timeout_minutes": 0.005},
    "run_timeout_not_reached": {"steps": [SLEEP], "timeout_minutes": 10},
    "dry_run": {"steps": [LONG, {"type": "delay", "name": "Wait", "duration": "1h"}], "run": {"dry_run": True}},
    "cancel_action": {"steps": [ECHO, LONG, ECHO], "cancel_at": 1},
    "cancel_delay": {"steps": [{"type": "delay", "name": "Wait", "duration": "1h"}], "cancel_at": 0},
    "cancel_stubborn": {
        "steps": [{"action_ref": "test.stubborn", "parameters": {"seconds": 1}}, ECHO],
        "cancel_at": 0,
    },
    "variables_and_outputs": {
        "steps": [{"action_ref": "core.set", "parameters": {"a": 1}}],
        "outputs": {"a": "{{ vars.a }}"},
    },
    "parallel": {
        "steps": [{"type": "parallel", "branches": [[SLEEP, ECHO], [ECHO, SLEEP], [ECHO]]}, ECHO],
    },
    "parallel_failure": {"steps": [{"type": "parallel", "branches": [[LONG, ECHO], [SLEEP, FAIL]]}]},
    "parallel_continue": {
        "steps": [{"type": "parallel", "on_failure": "continue", "branches": [[SLEEP, ECHO], [FAIL]]}, ECHO],
    },
    "foreach": {
        "steps": [{"type": "foreach", "items": [1, 2, 3, 4, 5], "concurrency": 2, "steps": [SLEEP, ECHO]}, ECHO],
    },
    # What runs together takes turns, with timers between them; see ``workflows.machine``.
    "turns": {
        "steps": [
            {
                "type": "foreach",
                "items": list(range(10)),
                "concurrency": 10,
                "steps": [{"id": "check", "type": "condition", "expression": HEAVY}, ECHO],
            }
        ],
        "parameters": {"type": "object", "properties": {"numbers": {"type": "array"}}},
        "run": {"parameters": {"numbers": list(range(100))}},
    },
    "foreach_failure": {
        "steps": [{"type": "foreach", "items": [1, 2, 3], "concurrency": 2, "steps": [{**FAIL, "when": "item == 2"}]}],
    },
    "while": {"steps": [{"type": "while", "expression": "index < 3", "steps": [SLEEP, ECHO]}]},
    "while_result": {
        "steps": [
            {
                "id": "w",
                "type": "while",
                "expression": "index < 3",
                "steps": [{**ECHO, "parameters": {"x": "{{ index }}"}}],
            },
            {**LONG, "when": "steps.w.output.result.x != 2 || steps.w.output.count != 3"},
        ]
    },
    "while_failure": {
        "steps": [
            {
                "id": "w",
                "type": "while",
                "expression": "index < 3",
                "on_failure": "tell",
                "steps": [SLEEP, {**FAIL, "when": "index == 1"}],
            },
            {**LONG, "id": "tell", "when": "!steps.w.error.message.startsWith('iteration 1 ')"},
        ]
    },
    "nested": {
        "steps": [
            {
                "type": "foreach",
                "items": [1, 2],
                "concurrency": 2,
                "steps": [
                    {
                        "type": "parallel",
                        "branches": [[{"type": "foreach", "items": [1, 2], "steps": [SLEEP]}], [SLEEP, ECHO]],
                    }
                ],
            }
        ]
    },
    "cancel_nested": {
        "steps": [
            {"type": "parallel", "branches": [[{"type": "foreach", "items": [1, 2], "steps": [LONG]}], [LONG]]},
        ],
        "cancel_at": 2,
    },
    "always": {"steps": [FAIL], "always": [SLEEP, ECHO]},
    "approval": {"steps": [{"id": "ask", "type": "approval"}, ECHO], "decide": "approve"},
    "approval_rejected": {"steps": [{"id": "ask", "type": "approval"}, ECHO], "decide": "reject"},
    "approval_timed_out": {"steps": [{"id": "ask", "type": "approval", "timeout": "100ms"}, ECHO]},
    "approval_granted_by_time": {
        "steps": [
            {"id": "ask", "type": "approval", "timeout": "100ms", "on_timeout": "approve"},
            {**LONG, "when": "steps.ask.status != 'completed'"},
            ECHO,
        ]
    },
    "subplaybook": {"child": [SLEEP, ECHO], "steps": [{"type": "playbook", "playbook": CHILD}, ECHO]},
    "subplaybook_failure": {"child": [FAIL], "steps": [{"type": "playbook", "playbook": CHILD}, ECHO]},
    "continued": {
        "steps": [{"type": "foreach", "items": list(range(60)), "concurrency": 2, "steps": [SLEEP]}, ECHO],
    },
    # The part of such a run that ends with its state handed on, in the middle of blocks.
    "parked": {
        "steps": [
            {"id": "set", "type": "set", "vars": {"n": 7}},
            {
                "id": "both",
                "type": "parallel",
                "branches": [
                    [{"id": "ask", "type": "approval", "timeout": "6s", "on_timeout": "approve"}],
                    [
                        {
                            "id": "outer",
                            "type": "foreach",
                            "items": ["a", "b", "c"],
                            "on_failure": "continue",
                            "steps": [
                                {"id": "inner", "type": "foreach", "items": list(range(14)), "steps": [SLEEP]},
                                {**FAIL, "id": "no", "when": "item == 'a'"},
                            ],
                        }
                    ],
                ],
            },
        ],
        "timeout_minutes": 10,
        "first_part": True,
    },
    "rerun": {
        "steps": [
            {"id": "set", "type": "set", "vars": {"n": 7}},
            {**ECHO, "id": "say"},
            {
                "id": "each",
                "type": "foreach",
                "items": ["{{ execution.id }}", "same", "bad"],
                "steps": [{**ECHO, "id": "it"}, {**FAIL, "id": "no", "when": "item == 'bad'"}],
                "on_failure": "undo",
            },
            {**ECHO, "id": "undo", "run": "on_failure_only"},
        ],
        "rerun": True,
    },
    "approval_by_signal": {"steps": [{"id": "ask", "type": "approval"}, ECHO], "signal": "reject"},
    "foreach_items": {
        "steps": [
            {"id": "text", "type": "foreach", "items": "{{ asset.name }}", "steps": [ECHO], "on_failure": "continue"},
            {"id": "gone", "type": "foreach", "items": "{{ vars.gone }}", "steps": [ECHO], "on_failure": "continue"},
            {
                "id": "told",
                "type": "foreach",
                "items": "{{ [1, 2] }}",
                "steps": [ECHO],
                "output": {"code": "{{ steps.text.error.code }}", "item": "{{ item }}", "index": "{{ index }}"},
            },
        ]
    },
    "while_broken": {
        "steps": [
            {"id": "text", "type": "while", "expression": "vars.gone > 1", "steps": [ECHO], "on_failure": "continue"},
            {
                "id": "on",
                "type": "while",
                "expression": "true",
                "max_iterations": 2,
                "steps": [{"id": "say", "action_ref": "core.echo", "parameters": {"n": "{{ index }}"}}],
            },
        ]
    },
    "always_sees": {
        "steps": [FAIL],
        "always": [
            {"action_ref": "core.echo", "parameters": {"x": "{{ execution.status }} {{ execution.error.code }}"}}
        ],
    },
    "run_timeout_in_a_loop": {
        "steps": [{"type": "foreach", "items": [1, 2], "concurrency": 2, "steps": [LONG, ECHO]}],
        "timeout_minutes": 0.005,
    },
    "cancel_subplaybook": {"child": [LONG], "steps": [{"type": "playbook", "playbook": CHILD}, ECHO], "cancel_at": 0},
}


async def save_all(folder: Path, names: list[str]) -> None:
    """Runs each kind and writes its history."""
    from tests.stack import running_stack, stack_settings

    async with running_stack(stack_settings(folder)) as stack:
        if not names or SCHEDULE in names:
            await save_schedule(stack)
        for name in [name for name in names or RUNS if name != SCHEDULE]:
            wanted = dict(RUNS[name])
            cancel_at = wanted.pop("cancel_at", None)
            decision, signal = wanted.pop("decide", None), wanted.pop("signal", None)
            first_part, again = wanted.pop("first_part", False), wanted.pop("rerun", False)
            if "child" in wanted:
                slug = (await stack.playbook(wanted.pop("child")))["slug"]
                wanted["steps"] = [
                    {**step, "playbook": slug} if "playbook" in step else step for step in wanted["steps"]
                ]
            execution = await stack.start(**wanted)
            if decision is not None:
                await decide(stack, execution, decision)
            if signal is not None:
                await send(stack, execution, signal)
            if cancel_at is not None:
                await stack.until_step(execution, cancel_at, "running")
                await stack.cancel(execution)
            status = await stack.finish(execution)
            if again:
                status = await stack.finish(await rerun(stack, execution))
            await save(stack, status["temporal"]["workflow_id"], name, first_part=first_part)
            print(f"{name}: {status['status']}", flush=True)


async def save(stack: Any, workflow_id: str, name: str, *, first_part: bool = False) -> None:
    """Writes the history of a workflow once it has closed; of its last part, or of its first."""
    handle = stack.temporal.get_workflow_handle(workflow_id)
    while (await handle.describe()).close_time is None:
        await asyncio.sleep(0.05)
    found = await handle.fetch_history()
    if first_part:
        first = found.events[0].workflow_execution_started_event_attributes.first_execution_run_id
        found = await stack.temporal.get_workflow_handle(workflow_id, run_id=first).fetch_history()
    history = json.loads(found.to_json())
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(_anonymous(history), indent=1) + "\n")
    await save_told(path)


async def save_told(path: Path) -> None:
    """Saves the commands that a replay of the history in ``path`` gives."""
    from tests.integration.engine.told import TOLD, told

    commands = json.dumps(await told(path), indent=1, sort_keys=True, ensure_ascii=False)
    (TOLD / path.name).write_text(commands + "\n")


async def save_all_told() -> None:
    """Saves the commands of each history there is."""
    for path in sorted(FOLDER.glob("*.json")):
        await save_told(path)


async def save_schedule(stack: Any) -> None:
    """Saves what a schedule starts when its playbook is due."""
    asset = await stack.asset()
    trigger = {"event": "schedule", "cron": "@daily", "asset": asset["id"]}
    playbook = await stack.playbook([ECHO], trigger=trigger)
    schedule = stack.temporal.get_schedule_handle(f"{stack.settings.task_queue}:{playbook['id']}")
    await schedule.trigger()
    while not (actions := (await schedule.describe()).info.recent_actions):
        await asyncio.sleep(0.05)
    await save(stack, actions[0].action.workflow_id, SCHEDULE)
    print(SCHEDULE, flush=True)


async def decide(stack: Any, execution: str, word: str) -> None:
    """Approves or rejects the first step, once it waits."""
    while not (await stack.status(execution))["steps"][0]["waiting_for"]:
        await asyncio.sleep(0.02)
    await stack.http.post(f"/api/playbooks/executions/{execution}/steps/ask/{word}")


async def send(stack: Any, execution: str, signal: str) -> None:
    """Sends a decision as an operator does in the Web UI, once the first step waits for it."""
    while not (status := await stack.status(execution))["steps"][0]["waiting_for"]:
        await asyncio.sleep(0.02)
    handle = stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"])
    await handle.signal(signal, {"comment": "by hand", "by": "operator"})


async def rerun(stack: Any, execution: str) -> str:
    """Starts what had failed again, once that run has closed."""
    path = f"/api/playbooks/executions/{execution}/rerun"
    while (answer := await stack.http.post(path, json={"from": "failed"})).status_code == 409:
        await asyncio.sleep(0.1)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution_id"])


def _anonymous(value: Any) -> Any:
    """The history without the names of a machine, which no replay looks at."""
    if isinstance(value, dict):
        fixed = {"identity": "worker", "stackTrace": ""}
        return {name: fixed[name] if name in fixed else _anonymous(part) for name, part in value.items()}
    return [_anonymous(part) for part in value] if isinstance(value, list) else value


def main(names: list[str]) -> None:
    """Saves the histories ``names``, or all."""
    if names == ["--told"]:
        asyncio.run(save_all_told())
        return
    from engine.embedded import EmbeddedOptions, command
    from tests.conftest import SUGGESTED_EVENTS, TEMPORAL_VARIABLE, free_port

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        options = EmbeddedOptions(data_dir=folder, port=free_port())
        with (folder / "server.log").open("wb") as log:
            suggested = ["--dynamic-config-value", f"limit.historyCount.suggestContinueAsNew={SUGGESTED_EVENTS}"]
            server = subprocess.Popen([*command(options), *suggested], stdout=log, stderr=log)
        os.environ[TEMPORAL_VARIABLE] = options.address
        try:
            asyncio.run(save_all(folder, names))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
