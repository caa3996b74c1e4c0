"""Cancelling a run: Temporal's own cancellation, and no rollback (seeds: *Cancelling an Execution*)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from engine.runs import Runs
from executions.errors import NotRunning
from executions.truth import Cancel, Reader, Truth
from playbooks.states import State
from storage import audit, settlement
from storage.audit import NewAudit
from storage.clock import now_ms
from storage.database import Database
from storage.executions import ExecutionRow


@dataclass(frozen=True, slots=True)
class Canceller:
    """Cancels runs."""

    database: Database
    runs: Runs
    reader: Reader

    async def cancel(self, row: ExecutionRow, cancel: Cancel, entry: NewAudit) -> Truth:
        """Cancels the run and returns it, ``cancelled``; a cancelled one is returned as it is.

        ``entry`` goes into the audit trail before Temporal is told, as requested: what refuses it is noted after it.
        Raises NotRunning for a run that has completed or failed, also when it did so while it was asked.
        """
        truth = await self.reader.read(row)
        if truth.is_final or truth.run_id is None or truth.first_run_id is None:
            return _cancelled_or_refused(truth)
        await self.database.write(_note, row.id, cancel, entry)
        await self.runs.cancel(row.workflow_id, truth.first_run_id, cancel.reason or f"cancelled by {cancel.by}")
        found = await self.runs.describe(row.workflow_id, truth.run_id)
        if found is None or found.closed:
            return _cancelled_or_refused(await self.reader.reread(row))
        return _cancelled_or_refused(await self.reader.cancelled(row, truth.revision, found, cancel))


def _note(connection: Connection, execution_id: str, cancel: Cancel, entry: NewAudit) -> None:
    settlement.note_cancel(connection, execution_id, by=cancel.by, reason=cancel.reason, at=now_ms())
    audit.append(connection, entry)


def _cancelled_or_refused(truth: Truth) -> Truth:
    state = truth.record.state
    if state is State.CANCELLED:
        return truth
    if state.is_final:
        raise NotRunning(f"The execution has {state.value} already.", execution_id=truth.row.id)
    raise NotRunning("The execution is still being started; try again.", execution_id=truth.row.id)
