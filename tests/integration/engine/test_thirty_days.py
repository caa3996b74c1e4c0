"""A run of thirty days, on a real server that skips the time in which nothing happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from activities.catalogue import load_catalogue
from engine.client import data_converter
from engine.embedded import binary
from engine.namespace import prepare_namespace
from playbooks.compile import compile_playbook
from playbooks.contract import RunInput
from playbooks.progress import decode_step, memo_of
from storage import executions
from storage.database import Database
from storage.executions import NewExecution
from storage.migrate import migrate
from tests.conftest import SUGGESTED_EVENTS
from tests.stack import stack_settings
from worker import build_worker

DAY_MS = 86_400_000
ASSET = {"id": "asset-1", "name": "web-01"}

STEPS: list[dict[str, Any]] = [
    {"id": "wait", "type": "delay", "duration": "10d"},
    {
        "id": "daily",
        "type": "while",
        "expression": "index < 14",
        "steps": [
            {"action_ref": "core.echo", "parameters": {"day": "{{ index }}"}},
            {"type": "delay", "duration": "1d"},
        ],
    },
    {
        "id": "flaky",
        "action_ref": "core.fail",
        "parameters": {"message": "not yet", "retryable": True, "times": 2},
        "retry": {"max_attempts": 3, "initial_interval": "12h", "max_interval": "1d"},
    },
    {"id": "ask", "type": "approval", "timeout": "4d12h", "on_timeout": "continue"},
]


async def test_thirty_days(tmp_path: Path) -> None:
    """Delays, retries and an approval that nobody answers take their days."""
    text = json.dumps({"name": "Thirty days", "steps": STEPS, "timeout_minutes": 40 * 24 * 60}).encode()
    plan = compile_playbook(text, "json", load_catalogue().specs()).plan
    given = RunInput(execution_id="exec-1", playbook_id="pb-1", revision=1, plan=plan, parameters={}, asset=ASSET)
    config = stack_settings(tmp_path)
    migrate(config.database)
    database = Database(config.database)
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(binary()),
        dev_server_extra_args=[
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
            "--dynamic-config-value",
            f"limit.historyCount.suggestContinueAsNew={SUGGESTED_EVENTS}",
        ],
        data_converter=data_converter(config, database),
    )
    async with environment:
        await prepare_namespace(environment.client, 90)
        await database.write(executions.insert, _row())
        async with build_worker(environment.client, database, config):
            handle = await environment.client.start_workflow(
                "thirty-days",
                given,
                id="pb-1:asset-1",
                task_queue=config.task_queue,
                memo=memo_of(given),
            )
            assert (await handle.result())["state"] == "completed"
    row = await database.read(executions.get, "exec-1")
    database.close()
    assert row is not None
    assert row.record is not None
    steps = [decode_step(step) for step in row.record]
    assert row.finished_at is not None
    assert row.started_at is not None
    days = (row.finished_at - row.started_at) / DAY_MS
    assert 30 <= days < 30.1
    assert [step.state for step in steps] == ["completed"] * 5 + ["failed"]
    assert (steps[4].attempt, steps[5].error and steps[5].error.code) == (3, "approval_timed_out")


def _row() -> NewExecution:
    return NewExecution(
        id="exec-1",
        created_at=0,
        created_by="admin",
        playbook_id="pb-1",
        revision=1,
        asset_id="asset-1",
        asset=dict(ASSET),
        parameters={},
        dry_run=False,
        workflow_id="pb-1:asset-1",
    )
