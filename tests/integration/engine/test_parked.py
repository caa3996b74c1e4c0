"""A run that is stopped between two of its parts: what was under way in the part before is not forgotten."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from activities.catalogue import load_catalogue
from playbooks.compile import compile_playbook
from playbooks.contract import RunInput, Snapshot
from playbooks.progress import encode_step, memo_of
from playbooks.record import StepRecord, Tally, Waiting
from playbooks.states import State
from storage import executions
from storage.executions import NewExecution
from tests.stack import Stack, running_stack, stack_settings

ASSET = {"id": "asset-1", "name": "web-01"}
NOW = 1_790_000_000_000
DELAY = {"type": "delay", "duration": "1h"}
STEPS: list[dict[str, Any]] = [
    {"id": "both", "type": "parallel", "branches": [[{"id": "wait", **DELAY}], [{"id": "done", **DELAY}]]},
    {"id": "each", "type": "foreach", "items": [1, 2], "steps": [{"id": "nap", **DELAY}, {"id": "then", **DELAY}]},
]


def snapshot(*, timed_out: bool) -> Snapshot:
    """A run that was parked while a branch waited."""
    running = StepRecord(State.RUNNING, started_at=NOW)
    waiting = StepRecord(State.RUNNING, started_at=NOW, waiting_for=Waiting("delay", NOW + 10**10))
    done = StepRecord(State.COMPLETED, started_at=NOW, finished_at=NOW)
    inner = {
        "path": [0],
        "item": 1,
        "started_at": NOW,
        "records": {4: encode_step(waiting)},
    }
    each = StepRecord(State.RUNNING, started_at=NOW, iterations=Tally(total=2, running=1))
    root = {
        "records": {index: encode_step(record) for index, record in enumerate((running, waiting, done, each))},
        "values": {"done": {"status": "completed", "output": {"seconds": 1}, "error": None}},
        "loops": {3: {"items": [1, 2], "next": 1, "open": [inner]}},
    }
    nap = StepRecord(State.RUNNING, started_at=NOW, runs=Tally(running=1))
    data = {"started_at": NOW, "timed_out": timed_out, "root": root, "rows": {4: encode_step(nap)}}
    return Snapshot.model_validate(data)


async def begun(stack: Stack, *, timed_out: bool) -> tuple[str, str]:
    """The execution and the workflow of a run whose next part has been started."""
    text = json.dumps({"name": "Parked", "steps": STEPS, "timeout_minutes": 10_000}).encode()
    plan = compile_playbook(text, "json", load_catalogue().specs()).plan
    execution, workflow = f"exec-{uuid.uuid4()}", f"pb-1:{uuid.uuid4()}"
    resume = snapshot(timed_out=timed_out)
    given = RunInput(
        execution_id=execution, playbook_id="pb-1", revision=1, plan=plan, parameters={}, asset=ASSET, resume=resume
    )
    row = NewExecution(
        id=execution,
        created_at=NOW,
        created_by="admin",
        playbook_id="pb-1",
        revision=1,
        asset_id="asset-1",
        asset=dict(ASSET),
        parameters={},
        dry_run=False,
        workflow_id=workflow,
    )
    await stack.database.write(executions.insert, row)
    queue = stack.settings.task_queue
    await stack.temporal.start_workflow("parked", given, id=workflow, task_queue=queue, memo=memo_of(given))
    return execution, workflow


@pytest.mark.parametrize("cause", ["cancel", "time limit"])
async def test_nothing_reads_running_at_the_end(tmp_path: Path, cause: str) -> None:
    """A cancel, or the time limit, that comes between two parts ends every step that was under way."""
    async with running_stack(stack_settings(tmp_path), worker=False) as stack:
        execution, workflow = await begun(stack, timed_out=cause == "time limit")
        if cause == "cancel":
            await stack.temporal.get_workflow_handle(workflow).cancel()
        await stack.start_worker()
        async with asyncio.timeout(20):
            while (row := await stack.database.read(executions.get, execution)) is None or row.closed_at is None:
                await asyncio.sleep(0.05)
    assert row.record is not None
    letters = [step[0] for step in row.record]
    if cause == "cancel":
        assert (row.state, letters) == ("cancelled", ["x", "x", "c", "x", "x", "x"])
    else:
        assert (row.state, letters) == ("failed", ["f", "f", "c", "f", "f", "s"])
