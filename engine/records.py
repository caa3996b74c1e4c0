"""Activities that write what a run has to tell the database: sub-playbooks that it starts, decisions that were taken.

Each may be repeated: Temporal does so when a worker dies in the middle of one.
"""

from __future__ import annotations

from sqlalchemy import Connection
from structlog.contextvars import bind_contextvars
from temporalio import activity

from engine.log_ids import bind_run
from playbooks.contract import (
    DISCARD_CHILD_ACTIVITY,
    NOTE_DECISION_ACTIVITY,
    OPEN_CHILD_ACTIVITY,
    DecisionNote,
    OpenChild,
    Opened,
)
from playbooks.parameters import ParameterErrors, validate_parameters
from storage import audit, executions
from storage.audit import NewAudit
from storage.database import Database
from storage.executions import NewExecution

SOURCE = "playbook"
"""Where a sub-playbook's execution comes from."""


class RecordKeeper:
    """The activities, on one database; each raises DatabaseUnavailable, which the workflow retries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=OPEN_CHILD_ACTIVITY)
    async def open_child(self, child: OpenChild) -> Opened:
        """Checks the parameters of a sub-playbook and writes its row, before Temporal starts it."""
        bind_run(child.parent.execution_id)
        try:
            parameters = validate_parameters(child.parameters_schema, child.parameters)
        except ParameterErrors as error:
            return Opened(faults=[f"{fault.path or '/'}: {fault.message}" for fault in error.faults[:20]])
        new = NewExecution(
            id=child.execution_id,
            created_at=child.at,
            created_by=child.parent.execution_id,
            playbook_id=child.playbook_id,
            revision=child.revision,
            asset_id=str(child.asset["id"]),
            asset=child.asset,
            parameters=parameters,
            dry_run=child.dry_run,
            dry_run_reads=child.dry_run_reads,
            workflow_id=child.workflow_id,
            source=SOURCE,
            parent_id=child.parent.execution_id,
            parent_step=child.parent.step_id,
        )
        await self._database.write(_insert_once, new)
        return Opened(parameters=parameters)

    @activity.defn(name=DISCARD_CHILD_ACTIVITY)
    async def discard_child(self, execution_id: str) -> None:
        """Takes back the row of a sub-playbook that Temporal did not start, since another run of it is open."""
        bind_contextvars(execution_id=execution_id)
        await self._database.write(executions.discard, execution_id)

    @activity.defn(name=NOTE_DECISION_ACTIVITY)
    async def note_decision(self, note: DecisionNote) -> None:
        """Writes a decision into the audit trail, once."""
        bind_run(note.execution_id)
        await self._database.write(_note_once, note)


def _insert_once(connection: Connection, new: NewExecution) -> None:
    if executions.get(connection, new.id) is None:
        executions.insert(connection, new)


def _note_once(connection: Connection, note: DecisionNote) -> None:
    action = "execution.approve" if note.approved else "execution.reject"
    entry = NewAudit(
        at=note.at,
        actor_id=note.by_id or "temporal",
        actor_name=note.by or "temporal",
        action=action,
        object_type="execution",
        object_id=note.execution_id,
        outcome="ok",
        address=note.address,
        details={"step": note.step, "comment": note.comment},
    )
    if not audit.contains(connection, entry):
        audit.append(connection, entry)
