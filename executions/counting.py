"""Counting an execution that has closed, with its steps, for whoever closed it."""

from __future__ import annotations

from collections.abc import Sequence

from engine.metrics import ExecutionMetrics
from executions.revisions import Revision
from playbooks.record import StepRecord
from playbooks.states import State


def count_ended(
    metrics: ExecutionMetrics,
    revision: Revision,
    records: Sequence[StepRecord],
    *,
    state: State,
    dry_run: bool,
    by_workflow: bool,
    started_at: int | None,
    finished_at: int,
) -> None:
    """Counts it by its final state, and each of its steps by action and final state; times in ms since the epoch."""
    lasted = None if started_at is None else finished_at - started_at
    metrics.ended(state, dry_run=dry_run, by_workflow=by_workflow, milliseconds=lasted)
    metrics.steps([step.action or step.type for step in revision.steps], records)
