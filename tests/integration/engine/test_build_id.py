"""What Temporal is told of the program that works on a run."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType

from engine.metrics import installed_version
from playbooks.contract import workflow_id
from tests.stack import Stack


async def test_a_worker_names_its_version(stack: Stack) -> None:
    """Each workflow task in the history says which version has done it, for whoever looks in the Web UI."""
    execution = await stack.start([{"action_ref": "core.sleep", "parameters": {"seconds": 0}}])
    status = await stack.finish(execution)
    handle = stack.temporal.get_workflow_handle(workflow_id(status["playbook_id"], status["target_asset_id"]))
    done = [
        event.workflow_task_completed_event_attributes.worker_version.build_id
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    assert set(done) == {f"stanchion-{installed_version()}"}
