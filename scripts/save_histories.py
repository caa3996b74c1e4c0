"""Saves the history of one run of each kind to tests/histories/, for the replay tests.

Run it when a step type is added, never to make a failing replay pass: a run that began under the old code must go on
under the new.  Starts an embedded server of its own and ends it.
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
}


async def save_all(folder: Path, names: list[str]) -> None:
    """Runs each kind and writes its history."""
    from tests.stack import running_stack, stack_settings

    async with running_stack(stack_settings(folder)) as stack:
        for name in names or RUNS:
            wanted = dict(RUNS[name])
            cancel_at = wanted.pop("cancel_at", None)
            execution = await stack.start(**wanted)
            if cancel_at is not None:
                await stack.until_step(execution, cancel_at, "running")
                await stack.cancel(execution)
            status = await stack.finish(execution)
            handle = stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"])
            while (await handle.describe()).close_time is None:
                await asyncio.sleep(0.05)
            history = json.loads((await handle.fetch_history()).to_json())
            (FOLDER / f"{name}.json").write_text(json.dumps(_anonymous(history), indent=1) + "\n")
            print(f"{name}: {status['status']}")


def _anonymous(value: Any) -> Any:
    """The history without the names of a machine, which no replay looks at."""
    if isinstance(value, dict):
        fixed = {"identity": "worker", "stackTrace": ""}
        return {name: fixed[name] if name in fixed else _anonymous(part) for name, part in value.items()}
    return [_anonymous(part) for part in value] if isinstance(value, list) else value


def main(names: list[str]) -> None:
    """Saves the histories ``names``, or all."""
    from engine.embedded import EmbeddedOptions, command
    from tests.conftest import TEMPORAL_VARIABLE, free_port

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        options = EmbeddedOptions(data_dir=folder, port=free_port())
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen(command(options), stdout=log, stderr=log)
        os.environ[TEMPORAL_VARIABLE] = options.address
        try:
            asyncio.run(save_all(folder, names))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
