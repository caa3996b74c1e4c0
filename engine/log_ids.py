"""What the lines of a worker's log belong to, for activities that are no steps."""

from __future__ import annotations

from structlog.contextvars import bind_contextvars
from temporalio import activity

from playbooks.contract import ids_of


def bind_run(execution_id: str) -> None:
    """Has every line that is logged for the current activity name the run that it is done for."""
    workflow = activity.info().workflow_id
    playbook_id, asset_id = ids_of(workflow) if workflow else (None, None)
    bind_contextvars(execution_id=execution_id, playbook_id=playbook_id, asset_id=asset_id)
