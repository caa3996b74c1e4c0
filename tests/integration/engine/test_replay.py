"""Saved histories replay: a run that began under earlier code goes on under this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from engine.converter import pydantic_json
from tests.integration.engine.told import HISTORIES as FOLDER
from tests.integration.engine.told import TOLD, told
from tests.stack import running_stack, stack_settings, states
from workflows.interpreter import PlaybookWorkflow
from workflows.schedule import ScheduleWorkflow

HISTORIES = sorted(FOLDER.glob("*.json"))
SANDBOX = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules("re2", "_re2"))


@pytest.mark.parametrize("runner", [UnsandboxedWorkflowRunner(), SANDBOX], ids=["plain", "sandboxed"])
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_saved_history_replays(path: Path, runner: WorkflowRunner) -> None:
    """The interpreter issues the same commands again, inside the SDK's sandbox and outside."""
    workflows = [PlaybookWorkflow, ScheduleWorkflow]
    replayer = Replayer(workflows=workflows, workflow_runner=runner, data_converter=pydantic_json)
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_replay_tells_what_was_told(path: Path) -> None:
    """Every command is the same in all that stands in it: inputs, timeouts, progress, the settled record, the end."""
    assert await told(path) == json.loads((TOLD / path.name).read_text())


def test_every_kind_of_run_has_a_history() -> None:
    """The folder holds what scripts/save_histories.py makes."""
    from scripts.save_histories import RUNS, SCHEDULE

    assert {path.stem for path in HISTORIES} >= {*RUNS, SCHEDULE}
    assert {path.name for path in TOLD.iterdir()} == {path.name for path in HISTORIES}


async def test_the_interpreter_runs_in_the_sandbox(tmp_path: Path) -> None:
    """Nothing in the interpreter needs what the SDK's sandbox forbids."""
    steps = [
        {"action_ref": "core.echo", "parameters": {"x": "{{ asset.name.matches('^web') }}"}},
        {"action_ref": "core.sleep", "parameters": {"seconds": 0}},
        {"type": "delay", "name": "Wait", "duration": "10ms"},
    ]
    async with running_stack(stack_settings(tmp_path), runner=SANDBOX) as stack:
        status = await stack.finish(await stack.start(steps))
    assert states(status) == ["completed"] * 3


async def test_without_a_cache_every_activation_replays(tmp_path: Path) -> None:
    """With no workflow kept in memory each task replays the whole history, and the run is the same."""
    steps = [
        {"action_ref": "core.sleep", "parameters": {"seconds": 0}},
        {"action_ref": "core.echo", "parameters": {"x": 1}},
        {"action_ref": "core.sleep", "parameters": {"seconds": 0}},
        {"action_ref": "core.fail", "parameters": {"message": "no"}, "on_failure": "continue"},
    ]
    async with running_stack(stack_settings(tmp_path), max_cached_workflows=0) as stack:
        status = await stack.finish(await stack.start(steps))
    assert (status["status"], states(status)) == ("completed", ["completed", "completed", "completed", "failed"])
