"""A run that is stopped between two of its parts: what was under way in the part before is not forgotten."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from activities.catalogue import load_catalogue
from playbooks.compile import compile_playbook
from playbooks.contract import APPROVE_SIGNAL, DECIDE_UPDATE, Decide, Decided, RunInput, Snapshot
from playbooks.progress import encode_step, memo_of
from playbooks.record import StepRecord, Tally, Waiting
from playbooks.states import State
from storage import executions
from storage.executions import ExecutionRow, NewExecution
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


async def begun(stack: Stack, steps: list[dict[str, Any]], resume: Snapshot) -> tuple[str, str]:
    """The execution and the workflow of a run whose next part has been started."""
    text = json.dumps({"name": "Parked", "steps": steps, "timeout_minutes": 10_000}).encode()
    plan = compile_playbook(text, "json", load_catalogue().specs()).plan
    execution, workflow = f"exec-{uuid.uuid4()}", f"pb-1:{uuid.uuid4()}"
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


async def closed(stack: Stack, execution: str) -> ExecutionRow:
    """The row of an execution once it has closed."""
    async with asyncio.timeout(60):
        while (row := await stack.database.read(executions.get, execution)) is None or row.closed_at is None:
            await asyncio.sleep(0.05)
    return row


@pytest.mark.parametrize("cause", ["cancel", "time limit"])
async def test_nothing_reads_running_at_the_end(tmp_path: Path, cause: str) -> None:
    """A cancel, or the time limit, that comes between two parts ends every step that was under way."""
    async with running_stack(stack_settings(tmp_path), worker=False) as stack:
        execution, workflow = await begun(stack, STEPS, snapshot(timed_out=cause == "time limit"))
        if cause == "cancel":
            await stack.temporal.get_workflow_handle(workflow).cancel()
        await stack.start_worker()
        row = await closed(stack, execution)
    assert row.record is not None
    letters = [step[0] for step in row.record]
    if cause == "cancel":
        assert (row.state, letters) == ("cancelled", ["x", "x", "c", "x", "x", "x"])
    else:
        assert (row.state, letters) == ("failed", ["f", "f", "c", "f", "f", "s"])


WAITS = encode_step(StepRecord(State.RUNNING, started_at=NOW, waiting_for=Waiting("approval", None)))
ASKS = {"type": "approval", "approvers": ["boss"], "on_failure": "continue"}
ASKING: list[dict[str, Any]] = [
    {"id": "ask", **ASKS},
    {"id": "each", "type": "foreach", "items": [1], "steps": [{"id": "inner", **ASKS}]},
]


def asking(label: str) -> Snapshot:
    """A run that was parked while the step ``label`` waited for approval."""
    if label == "ask":
        return Snapshot.model_validate({"started_at": NOW, "root": {"records": {0: WAITS}}})
    done = StepRecord(State.COMPLETED, started_at=NOW, finished_at=NOW)
    each = StepRecord(State.RUNNING, started_at=NOW, iterations=Tally(total=1, running=1))
    inner = {"path": [0], "item": 1, "started_at": NOW, "records": {2: WAITS}}
    root = {
        "records": {0: encode_step(done), 1: encode_step(each)},
        "values": {"ask": {"status": "completed", "output": None, "error": None}},
        "loops": {1: {"items": [1], "next": 1, "open": [inner]}},
    }
    row = StepRecord(State.RUNNING, started_at=NOW, runs=Tally(running=1))
    return Snapshot.model_validate({"started_at": NOW, "root": root, "rows": {2: encode_step(row)}})


@pytest.mark.parametrize("way", ["update", "signal"])
@pytest.mark.parametrize("label", ["ask", "inner.0"])
async def test_a_decision_that_the_next_part_begins_with(tmp_path: Path, label: str, way: str) -> None:
    """It was taken while no worker was there: the step has waited all the time, so it counts."""
    async with running_stack(stack_settings(tmp_path), worker=False) as stack:
        execution, workflow = await begun(stack, ASKING, asking(label))
        handle = stack.temporal.get_workflow_handle(workflow)
        decide = Decide(approve=True, step=label, by="boss", permissions=[])
        if way == "signal":
            await handle.signal(APPROVE_SIGNAL, decide)
            await stack.start_worker()
        else:
            update = handle.execute_update(DECIDE_UPDATE, decide, result_type=Decided)
            task = asyncio.create_task(update)
            await asyncio.sleep(0.3)
            await stack.start_worker()
            assert (await task).step == label
        if label == "ask":
            second = Decide(approve=True, step="inner.0", by="boss", permissions=[])
            await _until_taken(stack, workflow, second)
        row = await closed(stack, execution)
    assert row.record is not None
    assert [step[0] for step in row.record] == ["c", "c", "c"]


async def test_who_may_decide_in_the_next_part(tmp_path: Path) -> None:
    """The approvers are those of the step, also before it waits again."""
    async with running_stack(stack_settings(tmp_path), worker=False) as stack:
        _, workflow = await begun(stack, ASKING, asking("ask"))
        handle = stack.temporal.get_workflow_handle(workflow)
        decide = Decide(approve=True, step="ask", by="somebody", permissions=["playbook:execute"])
        task = asyncio.create_task(handle.execute_update(DECIDE_UPDATE, decide, result_type=Decided))
        await asyncio.sleep(0.3)
        await stack.start_worker()
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await task
        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.type == "forbidden"
        await handle.cancel()


async def _until_taken(stack: Stack, workflow: str, decide: Decide) -> None:
    """Decides as soon as the step waits."""
    handle = stack.temporal.get_workflow_handle(workflow)
    async with asyncio.timeout(60):
        while True:
            try:
                await handle.execute_update(DECIDE_UPDATE, decide, result_type=Decided)
            except WorkflowUpdateFailedError:
                await asyncio.sleep(0.05)
            else:
                return
