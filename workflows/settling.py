"""The last act of a run: the settled record goes to the database, and the workflow closes as that says."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError

from playbooks.contract import ATTRIBUTE_OUTCOME, OF_ITEMS, SETTLE_ACTIVITY, Settled, Settlement
from playbooks.progress import encode_step
from playbooks.record import ErrorInfo, Json, StepIo
from playbooks.states import State
from workflows.clock import now_ms
from workflows.frame import Frame
from workflows.publish import flush
from workflows.state import RunState, iteration_row

SETTLE_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
OUTCOME_KEY = SearchAttributeKey.for_keyword(ATTRIBUTE_OUTCOME)


async def close(state: RunState) -> dict[str, Json]:
    """Settles the record and closes the workflow as the database says: a final state stored earlier stands."""
    flush(state)
    settled = State(await _settle(state))
    record = state.record
    workflow.upsert_search_attributes([OUTCOME_KEY.value_set(settled.value)])
    if settled is State.CANCELLED and workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError
    if settled is State.FAILED:
        error = record.error or ErrorInfo("failed", "the run failed")
        raise ApplicationError(error.message, type=error.code, non_retryable=True)
    return {"state": settled.value, "outputs": record.outputs}


def io_of(state: RunState) -> dict[str, Json]:
    """Input and output of each step, by step id."""
    return {step_id: _io_value(io) for step_id, io in state.record.io.items()}


def iterations_of(state: RunState) -> dict[str, Json]:
    """Each iteration of each loop, by the id of the loop: those that have ended, then those under way."""
    found = {loop: list(rows) for loop, rows in state.iterations.items()}
    _add_open(state, state.root, found)
    return found


def _add_open(state: RunState, frame: Frame, found: dict[str, list[Json]]) -> None:
    for index, loop in sorted(frame.loops.items()):
        rows = found.setdefault(state.plan.steps[index].id, [])
        for _, inner in sorted(loop.open.items()):
            rows.append(iteration_row(inner, State.RUNNING, None, None))
            _add_open(state, inner, found)


async def _settle(state: RunState) -> str:
    """Writes the settled record, in a local activity that no cancel interrupts, until the database has it."""
    handle = workflow.start_local_activity(
        SETTLE_ACTIVITY,
        _settlement(state),
        result_type=Settled,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=SETTLE_RETRY,
        summary="settle the record",
    )
    while not handle.done():
        try:
            await asyncio.shield(handle)
        except asyncio.CancelledError:
            continue
    result: Settled = handle.result()
    return result.state


def _settlement(state: RunState) -> Settlement:
    record, given = state.record, state.given
    return Settlement(
        execution_id=given.execution_id,
        workflow_run_id=workflow.info().run_id,
        state=record.state.value,
        started_at=record.started_at,
        finished_at=record.finished_at or now_ms(),
        error=(record.error.code, record.error.message) if record.error else None,
        cancel_reason=workflow.cancellation_reason(),
        outputs=record.outputs,
        steps=[encode_step(step) for step in record.steps],
        io=io_of(state),
        iterations={**iterations_of(state), **_digests_of(state)},
        vars=state.vars,
    )


def _digests_of(state: RunState) -> dict[str, list[Json]]:
    return {f"{loop}{OF_ITEMS}": [list(one) for one in sorted(found.items())] for loop, found in state.digests.items()}


def _io_value(io: StepIo) -> Json:
    value = {"input": io.input, "output": io.output, "would": io.would, "effects": io.effects}
    return {name: part for name, part in value.items() if part is not None}
