"""The truth about a run (DESIGN.md §2): Temporal while it is open, the database once its state is final.

Reading may settle.  A run that Temporal closed without its last act (terminated, timed out, history lost) is written
down on the first read.  A cancel that Temporal has accepted is written down too before anybody is told of it: so
what was once read as final is never read otherwise, whatever the workflow does next.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from engine.description import Closed, Description
from engine.metrics import ExecutionMetrics
from engine.runs import Runs
from executions.counting import count_ended
from executions.overlay import cancelled, closed_outside, history_lost, with_pending
from executions.revisions import Revision, Revisions
from playbooks.progress import decode_step, encode_step
from playbooks.record import ErrorInfo, RunRecord, StepRecord
from playbooks.states import State
from storage import executions, settlement
from storage.clock import now_ms
from storage.database import Database
from storage.executions import ExecutionRow

GRACE = 1.0
"""Seconds that a cancelled run gets to write its own, exact record before the record is frozen without it."""

GRACE_POLL = 0.02

START_WINDOW_MS = 60_000
"""A run unknown to Temporal counts as lost after this: younger ones may be on their way there."""

KEYED_WINDOW_MS = 3_600_000
"""The same where the request had an idempotency key: whoever was answered 503 may come again with it."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Who cancelled a run, and why."""

    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Truth:
    """A run as it stands: its row, its record, and what Temporal adds while it is open."""

    row: ExecutionRow
    revision: Revision
    record: RunRecord
    run_id: str | None
    stalled: bool = False
    first_run_id: str | None = None
    """What names an open run in Temporal also after it has continued as new."""
    repeated: bool = False
    """An idempotency key was used before, and this is the run that it began."""

    @property
    def is_final(self) -> bool:
        """True when nothing of it can change its state any more."""
        return self.record.state.is_final


class Unsettled(Exception):
    """The row went away while it was read: its start was refused."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads runs.  Every method raises DatabaseUnavailable or TemporalUnavailable."""

    database: Database
    runs: Runs
    revisions: Revisions
    metrics: ExecutionMetrics = field(default_factory=ExecutionMetrics)

    async def read(self, row: ExecutionRow) -> Truth:
        """The truth about the run of ``row``."""
        revision = await self.revisions.get(row.playbook_id, row.revision)
        if row.state is not None:
            return settled(row, revision)
        found = await self.runs.describe(row.workflow_id)
        if found is None or found.execution_id != row.id or found.closed:
            return await self._read_closed(row, revision)
        if found.cancel_requested:
            return await self.cancelled(row, revision, found, Cancel("temporal", None))
        return open_run(row, revision, found)

    async def reread(self, row: ExecutionRow) -> Truth:
        """The truth now, where ``row`` may be out of date."""
        return await self.read(await self._again(row))

    async def cancelled(self, row: ExecutionRow, revision: Revision, found: Description, cancel: Cancel) -> Truth:
        """The truth about a run whose cancellation Temporal has accepted; it is final when this returns.

        The run is given a moment to settle by itself, since it knows best.  After that the record is frozen.
        """
        deadline = asyncio.get_running_loop().time() + GRACE
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(GRACE_POLL)
            fresh = await self._again(row)
            if fresh.state is not None:
                return settled(fresh, revision)
        latest = await self.runs.describe(row.workflow_id, found.run_id) or found
        done = await self.runs.finished_activities(row.workflow_id, found.run_id)
        now = now_ms()
        steps = cancelled(latest.record.steps, revision.step_ids, done, now)
        await self.database.write(
            settlement.freeze_cancelled,
            row.id,
            record=[encode_step(step) for step in steps],
            at=now,
            by=cancel.by,
            reason=cancel.reason,
            started_at=latest.record.started_at,
            finished_at=now,
        )
        return settled(await self._again(row), revision)

    async def _read_closed(self, row: ExecutionRow, revision: Revision) -> Truth:
        """A run that is not the open one of its workflow id: settled since, closed otherwise, or not there."""
        fresh = await self._again(row)
        if fresh.state is not None:
            return settled(fresh, revision)
        found = await self.runs.describe_execution(row.workflow_id, row.id)
        if found is not None and not found.closed:
            return open_run(fresh, revision, found)
        if found is None and await self._may_start(fresh):
            return Truth(fresh, revision, RunRecord([StepRecord() for _ in revision.steps]), None)
        await self._settle_outside(fresh, revision, found)
        return settled(await self._again(row), revision)

    async def _may_start(self, row: ExecutionRow) -> bool:
        """Whether Temporal may yet hear of the run, by the request for it or by its open parent."""
        age = now_ms() - row.created_at
        if age < START_WINDOW_MS:
            return True
        if row.parent_id is None:
            return age < KEYED_WINDOW_MS and await self.database.read(executions.has_key, row.id)
        parent = await self.database.read(executions.get, row.parent_id)
        return parent is not None and parent.closed_at is None

    async def _parent_was_cancelled(self, row: ExecutionRow) -> bool:
        """Whether the row is of a sub-playbook that was never started, since its parent was cancelled first."""
        if row.parent_id is None:
            return False
        parent = await self.database.read(executions.get, row.parent_id)
        return parent is not None and parent.state is State.CANCELLED

    async def close_frozen(self, row: ExecutionRow, found: Description | None) -> None:
        """Closes a run that reads ``cancelled`` already and whose workflow has gone without its last act."""
        await self._settle_outside(row, await self.revisions.get(row.playbook_id, row.revision), found)

    async def _settle_outside(self, row: ExecutionRow, revision: Revision, found: Description | None) -> None:
        now = now_ms()
        finished_at = found.closed_at or now if found else now
        state, error, steps = await self._outside(row, revision, found, finished_at)
        closed = await self.database.write(
            settlement.settle_outside,
            row.id,
            state=state,
            record=[encode_step(step) for step in steps],
            error=error,
            cancelled=("temporal", error.message, finished_at) if state is State.CANCELLED and error else None,
            started_at=found.record.started_at if found else None,
            finished_at=finished_at,
        )
        if closed:
            count_ended(
                self.metrics,
                revision,
                steps,
                state=row.state or state,
                dry_run=row.dry_run,
                by_workflow=False,
                started_at=found.record.started_at if found else None,
                finished_at=finished_at,
            )

    async def _outside(
        self, row: ExecutionRow, revision: Revision, found: Description | None, at: int
    ) -> tuple[State, ErrorInfo | None, list[StepRecord]]:
        """What a run is that Temporal closed, or lost, without its last act."""
        if found is None and await self._parent_was_cancelled(row):
            text = "its parent was cancelled before it began"
            steps = [StepRecord() for _ in revision.steps]
            return State.CANCELLED, ErrorInfo("cancelled", text), cancelled(steps, revision.step_ids, (), at)
        if found is None:
            text = "Temporal holds no history of this run: it was never taken, or has been dropped"
            return State.FAILED, ErrorInfo("history_lost", text), history_lost(len(revision.steps))
        steps = found.record.steps
        done = await self.runs.finished_activities(row.workflow_id, found.run_id)
        if found.closed in (Closed.TERMINATED, Closed.CANCELLED):
            reason = await self.runs.close_reason(row.workflow_id, found.run_id)
            text = f"{found.closed.value} in Temporal" + (f": {reason}" if reason else "")
            return State.CANCELLED, ErrorInfo(found.closed.value, text), cancelled(steps, revision.step_ids, done, at)
        code = "timed_out" if found.closed is Closed.TIMED_OUT else "internal"
        text = f"Temporal closed the run as {found.closed.value if found.closed else 'unknown'} before its last act"
        return State.FAILED, ErrorInfo(code, text), closed_outside(steps, at)

    async def _again(self, row: ExecutionRow) -> ExecutionRow:
        fresh = await self.database.read(executions.get, row.id)
        if fresh is None:
            raise Unsettled(row.id)
        return fresh


def settled(row: ExecutionRow, revision: Revision) -> Truth:
    """A run whose state is final: the database says it all."""
    assert row.state is not None
    record = RunRecord(
        steps=[decode_step(step) for step in row.record or []],
        state=State(row.state),
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=row.error,
        outputs=row.outputs,
    )
    return Truth(row, revision, record, row.workflow_run_id)


def open_run(row: ExecutionRow, revision: Revision, found: Description) -> Truth:
    """A run that is open in Temporal: the memo, overlaid with what is pending.

    Its workflow may know its end already.  That is final, and to be told, once the database has it.
    """
    state = found.record.state
    record = RunRecord(
        steps=with_pending(found.record.steps, revision.step_ids, found.pending),
        state=State.RUNNING if state.is_final else state,
        started_at=found.record.started_at,
    )
    return Truth(row, revision, record, found.run_id, stalled=found.stalled, first_run_id=found.first_run_id)
