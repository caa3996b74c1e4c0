"""Step type ``playbook``: runs another playbook as a run of its own, a child workflow with its own execution id.

The child's workflow id is the one that every run of that playbook on that asset has, so the conflict rule holds for
it too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.workflow import ChildWorkflowCancellationType, ChildWorkflowHandle, ParentClosePolicy

from playbooks.contract import (
    ATTRIBUTE_ASSET,
    ATTRIBUTE_DRY_RUN,
    ATTRIBUTE_EXECUTION,
    ATTRIBUTE_PLAYBOOK,
    DISCARD_CHILD_ACTIVITY,
    OPEN_CHILD_ACTIVITY,
    OpenChild,
    Opened,
    ParentRun,
    PinnedPlaybook,
    RunInput,
    workflow_id,
)
from playbooks.evaluation import EvaluationError
from playbooks.plan import PlaybookStep
from playbooks.progress import memo_of
from playbooks.record import ErrorInfo, Json, Waiting
from playbooks.states import State
from workflows.clock import now_ms
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.frame import Outcome
from workflows.machine import At
from workflows.publish import flush

FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
"""Seconds between two looks whether the playbook is free, growing from the first to the longest."""

TASK_TIMEOUT = timedelta(seconds=5)
ROW_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))


async def run_playbook(at: At) -> Outcome:
    """Starts the sub-playbook, once it is free where the step says ``wait``, and waits for its end."""
    step: PlaybookStep = at.step
    pinned = at.state.given.playbooks[step.playbook]
    try:
        parameters = rendered(at.state, step.parameters, at.names).value
    except EvaluationError as error:
        return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, str(error)))
    at.state.given_to(at.frame, step, {"playbook": pinned.slug, "parameters": parameters})
    record = at.frame.record(step.index)
    if record.waiting_for is not None:
        await at.machine.pause(record.waiting_for.until, _summary(at))
    while True:
        at.machine.gate()
        attempt = record.attempt + 1
        at.state.attempted(at.frame, step, attempt, {"playbook": pinned.slug, "parameters": parameters})
        flush(at.state)
        outcome = await _attempt(at, pinned, parameters)
        if outcome is not None:
            return outcome
        if step.on_conflict == "fail":
            message = f"the playbook {pinned.slug} is running for this asset already"
            return Outcome(State.FAILED, error=ErrorInfo("conflict", message))
        seconds = min(FIRST_WAIT * 2 ** min(attempt - 1, 10), LONGEST_WAIT)
        waiting = Waiting("retry", now_ms() + int(seconds * 1000))
        at.state.waits(at.frame, step, waiting, ErrorInfo("conflict", f"waits until {pinned.slug} is free"))
        await at.machine.pause(waiting.until, _summary(at))


async def _attempt(at: At, pinned: PinnedPlaybook, parameters: dict[str, Json]) -> Outcome | None:
    """How the sub-playbook ended; None where it is running for the asset already."""
    execution_id = f"exec-{workflow.uuid4()}"
    try:
        opened = await _open(at, pinned, parameters, execution_id)
    except asyncio.CancelledError:
        await _discard(at, execution_id)
        raise
    if opened.faults:
        return Outcome(State.FAILED, error=ErrorInfo("validation_error", "; ".join(opened.faults)))
    try:
        handle = await at.machine.outside(_start(at, pinned, _input(at, pinned, opened.parameters, execution_id)))
    except WorkflowAlreadyStartedError:
        await _discard(at, execution_id)
        return None
    except FailureError as error:
        if is_cancelled_exception(error):
            await _discard(at, execution_id)
        raise
    at.state.began_child(at.frame, at.step, execution_id)
    flush(at.state)
    try:
        result = await at.machine.outside(handle)
    except ChildWorkflowError as error:
        if is_cancelled_exception(error) and at.scope.told is not None:
            raise
        return _failed(pinned, execution_id, error)
    return Outcome(State.COMPLETED, {"execution_id": execution_id, **result})


def _start(at: At, pinned: PinnedPlaybook, given: RunInput) -> Awaitable[ChildWorkflowHandle[Any, Any]]:
    """The start of the sub-playbook, under the id by which Temporal tells whether it is running already."""
    return workflow.start_child_workflow(
        pinned.slug,
        given,
        id=workflow_id(pinned.id, str(given.asset["id"])),
        result_type=dict,
        cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
        task_timeout=TASK_TIMEOUT,
        memo=memo_of(given),
        search_attributes=_attributes(given),
        static_summary=f"{pinned.name} on {given.asset.get('name', given.asset['id'])}",
        static_details=f"Sub-playbook of `{at.state.given.execution_id}`, step `{at.label}`",
    )


def _failed(pinned: PinnedPlaybook, execution_id: str, error: ChildWorkflowError) -> Outcome:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        told = ErrorInfo(cause.type or "failed", f"{pinned.slug} failed: {cause.message}")
    elif isinstance(cause, TerminatedError):
        told = ErrorInfo("terminated", f"{pinned.slug} was terminated")
    else:
        told = ErrorInfo("cancelled", f"{pinned.slug} was cancelled")
    state = State.FAILED if isinstance(cause, ApplicationError) else State.CANCELLED
    return Outcome(State.FAILED, {"execution_id": execution_id, "state": state.value, "outputs": None}, told)


def _input(at: At, pinned: PinnedPlaybook, parameters: dict[str, Json], execution_id: str) -> RunInput:
    given = at.state.given
    return RunInput(
        execution_id=execution_id,
        playbook_id=pinned.id,
        revision=pinned.revision,
        plan=pinned.plan,
        parameters=parameters,
        asset=given.asset,
        dry_run=given.dry_run,
        dry_run_reads=given.dry_run_reads,
        playbooks=given.playbooks,
        parent=ParentRun(execution_id=given.execution_id, step_id=at.label),
        context=given.context,
        turns=given.turns,
    )


async def _open(at: At, pinned: PinnedPlaybook, parameters: dict[str, Json], execution_id: str) -> Opened:
    """Checks the parameters and writes the row of the execution that is about to start."""
    given = at.state.given
    handle = workflow.start_local_activity(
        OPEN_CHILD_ACTIVITY,
        OpenChild(
            execution_id=execution_id,
            parent=ParentRun(execution_id=given.execution_id, step_id=at.label),
            playbook_id=pinned.id,
            revision=pinned.revision,
            asset=given.asset,
            parameters=parameters,
            parameters_schema=pinned.parameters_schema,
            dry_run=given.dry_run,
            dry_run_reads=given.dry_run_reads,
            workflow_id=workflow_id(pinned.id, str(given.asset["id"])),
            at=now_ms(),
        ),
        result_type=Opened,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=ROW_RETRY,
        summary=f"open {pinned.slug}",
    )
    opened: Opened = await at.machine.through(handle)
    return opened


async def _discard(at: At, execution_id: str) -> None:
    handle = workflow.start_local_activity(
        DISCARD_CHILD_ACTIVITY,
        execution_id,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=ROW_RETRY,
        summary="take back the execution",
    )
    await at.machine.through(handle)


def _attributes(given: RunInput) -> TypedSearchAttributes:
    texts = {
        ATTRIBUTE_PLAYBOOK: given.playbook_id,
        ATTRIBUTE_ASSET: str(given.asset["id"]),
        ATTRIBUTE_EXECUTION: given.execution_id,
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in texts.items()]
    dry_run = SearchAttributePair(SearchAttributeKey.for_bool(ATTRIBUTE_DRY_RUN), given.dry_run)
    return TypedSearchAttributes([*pairs, dry_run])


def _summary(at: At) -> str:
    return f"{at.step.name}: waits until it is free"
