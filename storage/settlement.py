"""How an execution becomes final, once and for ever.

Three hands may write the end of a run: a cancel that was accepted (``freeze_cancelled``), the workflow's last act
(``settle``), and the sweep for runs that Temporal closed otherwise (``settle_outside``).  The first to write a state
wins; a later one only adds what is not known yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)

from playbooks.contract import Settlement
from playbooks.progress import decode_step, encode_step
from playbooks.record import ErrorInfo, Json, StepRecord
from playbooks.states import State
from storage.errors import NotFound
from storage.phantom import runs as phantom_runs
from storage.tables import execution_io, executions

AFTER_CANCEL = {
    State.COMPLETED: "finished after the cancel was accepted",
    State.FAILED: "failed after the cancel was accepted",
}
"""Reason of a step that had been told to stop and ended otherwise; it reads ``cancelled`` all the same."""


CancelNote = tuple[str | None, str | None, int]
"""Who cancelled a run, why, and when (ms since the epoch)."""


NEVER_BEGAN = "history_lost"
"""Code of a run that Temporal knows nothing of."""


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """Which run it was that has just been closed."""

    number: int
    playbook_id: str
    revision: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The state that stands after a settlement; ``closed`` is None where the run had closed before."""

    state: State
    closed: ClosedRun | None


@dataclass(frozen=True, slots=True)
class _Ending:
    """The end of a run, whoever brings it."""

    state: State
    record: Sequence[Json]
    closed_at: int
    finished_at: int
    started_at: int | None = None
    error: ErrorInfo | None = None
    cancelled: CancelNote | None = None
    outputs: Json = None
    workflow_run_id: str | None = None


def _new(column: Column[Any]) -> BindParameter[Any]:
    """The parameter that carries a new value of ``column``; named apart, since an update takes the plain name."""
    return bindparam(f"new_{column.name}", type_=column.type)


def _known_or_new(column: Column[Any]) -> ColumnElement[Any]:
    return func.coalesce(column, _new(column))


def _noted_or_new(column: Column[Any]) -> ColumnElement[Any]:
    """What was noted when the cancel was asked for, else what the end of the run brings."""
    return case((_c.cancelled_at.is_(None), _new(column)), else_=column)


_c = executions.c
_own = _c.id == bindparam("execution_id")
_undecided = and_(_own, _c.state.is_(None), _c.closed_at.is_(None))
_cancel_columns = (_c.cancelled_at, _c.cancelled_by, _c.cancel_reason)

_NOTE = (
    update(executions)
    .where(_undecided, _c.cancelled_at.is_(None))
    .values({column: _new(column) for column in _cancel_columns})
)
_FREEZE = (
    update(executions)
    .where(_undecided)
    .values(
        {
            _c.state: State.CANCELLED,
            **{column: _new(column) for column in (_c.record, _c.started_at, _c.finished_at)},
            **{column: _noted_or_new(column) for column in _cancel_columns},
        }
    )
)
_ended_columns = (_c.state, _c.record, _c.started_at, _c.finished_at, _c.error, _c.outputs, _c.closed_at)
_WRITE = (
    update(executions)
    .where(_undecided)
    .values(
        {
            **{column: _new(column) for column in _ended_columns},
            _c.workflow_run_id: _known_or_new(_c.workflow_run_id),
            # A cancel that came too late leaves no trace in a run that ended otherwise.
            **{column: case((_new(_c.state) == State.CANCELLED, _noted_or_new(column))) for column in _cancel_columns},
        }
    )
    .returning(_c.number, _c.playbook_id, _c.revision, _c.dry_run)
)
# SQLite has no row locks and needs none: its writers take turns.
_LOCK = (
    select(_c.number, _c.playbook_id, _c.revision, _c.dry_run, _c.state, _c.record, _c.closed_at)
    .where(_own)
    .with_for_update()
)
_COMPLETE = (
    update(executions)
    .where(_own)
    .values(
        {
            **{column: _new(column) for column in (_c.record, _c.outputs, _c.closed_at)},
            **{column: _known_or_new(column) for column in (_c.started_at, _c.workflow_run_id)},
        }
    )
)
_INSERT_IO = insert(execution_io)


def note_cancel(connection: Connection, execution_id: str, *, by: str | None, reason: str | None, at: int) -> bool:
    """Remember who asked for a cancel, before Temporal is told; it counts if the run then ends as cancelled.

    The first note stands.  False when there is one, or the run is final already.
    """
    values = {"execution_id": execution_id, **_cancel_values((by, reason, at))}
    return connection.execute(_NOTE, values).rowcount == 1


def freeze_cancelled(
    connection: Connection,
    execution_id: str,
    *,
    record: Sequence[Json],
    at: int,
    by: str | None,
    reason: str | None,
    started_at: int | None,
    finished_at: int,
) -> bool:
    """Make the run read ``cancelled`` from now on, with these compact step rows; its workflow may still be stopping.

    False when the run is final already; then nothing changes.
    """
    values = {
        "execution_id": execution_id,
        "new_record": list(record),
        "new_started_at": started_at,
        "new_finished_at": finished_at,
        **_cancel_values((by, reason, at)),
    }
    return connection.execute(_FREEZE, values).rowcount == 1


def settle(connection: Connection, settlement: Settlement, now_ms: int) -> Standing:
    """Write the end that the workflow brings, and the inputs and outputs of its steps.

    A run that was frozen as cancelled stays cancelled and keeps the final states of its steps; a run that has closed
    stays as it is, so the activity may be repeated.  Answers with the state that stands.  Raises ``NotFound``.
    """
    state = State(settlement.state)
    ending = _Ending(
        state=state,
        record=settlement.steps,
        closed_at=now_ms,
        finished_at=settlement.finished_at,
        started_at=settlement.started_at,
        error=ErrorInfo(*settlement.error) if settlement.error else None,
        cancelled=((None, settlement.cancel_reason, settlement.finished_at) if state is State.CANCELLED else None),
        outputs=settlement.outputs,
        workflow_run_id=settlement.workflow_run_id,
    )
    standing = _end(connection, settlement.execution_id, ending)
    if standing.closed is not None and (settlement.io or settlement.iterations or settlement.vars):
        values = {
            "number": standing.closed.number,
            "io": settlement.io,
            "iterations": settlement.iterations or None,
            "vars": settlement.vars or None,
        }
        connection.execute(_INSERT_IO, values)
    return standing


def settle_outside(
    connection: Connection,
    execution_id: str,
    *,
    state: State | str,
    record: Sequence[Json],
    error: ErrorInfo | None,
    cancelled: CancelNote | None,
    started_at: int | None,
    finished_at: int,
) -> bool:
    """Write the end of a run that Temporal closed without the workflow's last act (terminated, timed out, lost).

    The same rules as in ``settle``.  True when this call closed it.  Raises ``NotFound``.
    """
    ending = _Ending(
        state=State(state),
        record=record,
        closed_at=finished_at,
        finished_at=finished_at,
        started_at=started_at,
        error=error,
        cancelled=cancelled,
    )
    closed = _end(connection, execution_id, ending).closed is not None
    if closed and error is not None and error.code == NEVER_BEGAN:
        phantom_runs.release(connection, execution_id)
    return closed


def _end(connection: Connection, execution_id: str, ending: _Ending) -> Standing:
    """Close the execution, where it is still open."""
    written = connection.execute(_WRITE, _values(execution_id, ending)).one_or_none()
    if written is not None:
        return Standing(ending.state, ClosedRun(*written))
    row = connection.execute(_LOCK, {"execution_id": execution_id}).one_or_none()
    if row is None:
        raise NotFound("execution", execution_id)
    if row.closed_at is not None:
        return Standing(row.state, None)
    values = {
        "execution_id": execution_id,
        "new_record": merge(row.record or [], ending.record),
        "new_started_at": ending.started_at,
        "new_outputs": ending.outputs,
        "new_workflow_run_id": ending.workflow_run_id,
        "new_closed_at": ending.closed_at,
    }
    connection.execute(_COMPLETE, values)
    return Standing(row.state, ClosedRun(row.number, row.playbook_id, row.revision, row.dry_run))


def _values(execution_id: str, ending: _Ending) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "new_state": ending.state,
        "new_record": list(ending.record),
        "new_started_at": ending.started_at,
        "new_finished_at": ending.finished_at,
        "new_error": ending.error,
        "new_outputs": ending.outputs,
        **_cancel_values(ending.cancelled),
        "new_workflow_run_id": ending.workflow_run_id,
        "new_closed_at": ending.closed_at,
    }


def _cancel_values(note: CancelNote | None) -> dict[str, Any]:
    by, reason, at = note or (None, None, None)
    return {"new_cancelled_by": by, "new_cancel_reason": reason, "new_cancelled_at": at}


def merge(frozen: Sequence[Json], settled: Sequence[Json]) -> list[Json]:
    """The step rows of a run that was frozen and has settled since: final states stay, details are filled in."""
    return [
        late if early is None else early if late is None else encode_step(_keep(decode_step(early), decode_step(late)))
        for early, late in zip_longest(frozen, settled)
    ]


def _keep(frozen: StepRecord, settled: StepRecord) -> StepRecord:
    if not frozen.state.is_final:
        return settled
    reason = frozen.reason or settled.reason
    if frozen.state is State.CANCELLED and settled.state in AFTER_CANCEL:
        reason = AFTER_CANCEL[settled.state]
    return replace(
        settled,
        state=frozen.state,
        started_at=settled.started_at if frozen.started_at is None else frozen.started_at,
        finished_at=settled.finished_at if frozen.finished_at is None else frozen.finished_at,
        attempt=max(frozen.attempt, settled.attempt),
        error=frozen.error or settled.error,
        reason=reason,
        waiting_for=None,
    )
