"""Pure functions over step records: what Temporal adds to the memo, and what an outside close makes of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from engine.description import PendingActivity
from playbooks.record import ErrorInfo, StepRecord, Waiting
from playbooks.states import State

HISTORY_LOST = "history_lost"
OUTCOME_UNKNOWN = "outcome_unknown"


def with_pending(
    steps: Sequence[StepRecord], ids: Sequence[str], pending: Mapping[str, PendingActivity]
) -> list[StepRecord]:
    """The records, with what Temporal tells of activities under way: one that waits after a lost worker says so."""
    if not pending:
        return list(steps)
    return [_with_activity(step, _activity(pending, step_id, step)) for step_id, step in zip(ids, steps, strict=True)]


def cancelled(steps: Sequence[StepRecord], ids: Sequence[str], finished: Collection[str], now: int) -> list[StepRecord]:
    """The records of a run that is cancelled at ``now``: what has ended stays, the rest is ``cancelled``.

    ``finished`` are the ids of steps whose action has completed, though the workflow has not taken note of it yet.
    """
    return [_cancelled(step, completed=step_id in finished, now=now) for step_id, step in zip(ids, steps, strict=True)]


def closed_outside(steps: Sequence[StepRecord], now: int) -> list[StepRecord]:
    """The records of a run that ran out of time in Temporal, or failed there: nobody knows how a running step ended."""
    unknown = ErrorInfo(OUTCOME_UNKNOWN, "the run was closed while the step ran; it may or may not have taken effect")
    return [
        replace(step, state=State.FAILED, error=unknown, waiting_for=None, finished_at=now)
        if step.state is State.RUNNING
        else replace(step, state=State.SKIPPED, reason="the run was closed before this step")
        if step.state is State.PENDING
        else step
        for step in steps
    ]


def history_lost(count: int) -> list[StepRecord]:
    """The records of a run of ``count`` steps that Temporal knows nothing of."""
    unknown = ErrorInfo(OUTCOME_UNKNOWN, "Temporal holds no history of this run")
    return [StepRecord(state=State.FAILED, error=unknown) for _ in range(count)]


def _activity(pending: Mapping[str, PendingActivity], step_id: str, step: StepRecord) -> PendingActivity | None:
    if step.state is not State.RUNNING:
        return None
    return pending.get(step_id if step.attempt <= 1 else f"{step_id}:{step.attempt}")


def _with_activity(step: StepRecord, activity: PendingActivity | None) -> StepRecord:
    if activity is None or activity.attempt <= 1:
        return step
    error = ErrorInfo("worker_lost", activity.failure) if activity.failure else step.error
    waiting = Waiting("retry", activity.retry_at) if activity.retry_at else step.waiting_for
    return replace(step, error=error, waiting_for=waiting)


def _cancelled(step: StepRecord, *, completed: bool, now: int) -> StepRecord:
    if step.state.is_final:
        return step
    if step.state is State.RUNNING:
        state = State.COMPLETED if completed else State.CANCELLED
        return replace(step, state=state, waiting_for=None, finished_at=now)
    return replace(step, state=State.CANCELLED)
