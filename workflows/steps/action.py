"""Step type ``action``: runs an action as an activity and counts its answers.

Two kinds of retry are kept apart.  An *answer* (the action failed and said so, or ran out of its time) is counted
here against the playbook's ``retry``.  A *crash* (worker lost, worker shut down) is retried by Temporal, without
limit, but only where the action is idempotent; otherwise nobody knows what happened and the step fails with
``outcome_unknown``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutType,
    is_cancelled_exception,
)
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.workflow import ActivityCancellationType

from playbooks.contract import SET_ACTION, ActionCall, ActionResult
from playbooks.evaluation import EvaluationError
from playbooks.plan import ActionStep, Retry
from playbooks.record import ErrorInfo, Waiting
from playbooks.states import State
from playbooks.templates import Rendered
from workflows.clock import now_ms
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.frame import Outcome
from workflows.machine import TIMED_OUT, At
from workflows.publish import flush

OUTCOME_UNKNOWN = "outcome_unknown"

QUICK_TIMEOUT = 10.0
"""Seconds that a quick action may take: it runs inside a workflow task."""

TIMEOUT_GRACE = timedelta(seconds=30)
"""The worker enforces a step's timeout itself and reports it; Temporal's own comes later, for a worker that hangs."""

NO_TIMEOUT = timedelta(days=3650)

HEARTBEAT_REPEATABLE = timedelta(seconds=5)
HEARTBEAT_ONCE = timedelta(seconds=20)
"""A lost worker is noticed after this long.  Longer where a false alarm costs a step, and not only a repetition: a
Temporal that stands still for that long tells a living worker from a dead one no better than a cut network does."""

CRASH_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=0,
)
NO_RETRY = RetryPolicy(maximum_attempts=1)


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ErrorInfo
    retryable: bool
    retry_after: float = 0.0
    """Seconds that the other side asks us to wait."""


async def run_action(at: At) -> Outcome:
    """Renders the parameters, runs the action and retries its failures as the step says."""
    step: ActionStep = at.step
    try:
        filled = rendered(at.state, step.parameters, at.names)
    except EvaluationError as error:
        return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, str(error)))
    record = at.frame.record(step.index)
    if record.waiting_for is not None:
        await _pause(at, record.attempt, record.waiting_for.until)
    while True:
        at.machine.gate()
        attempt = record.attempt + 1
        at.state.attempted(at.frame, step, attempt, filled.value)
        answer = await _attempt(at, attempt, filled)
        if isinstance(answer, ActionResult):
            if step.action == SET_ACTION and isinstance(answer.output, dict):
                at.state.assigned(answer.output)
            return Outcome(State.COMPLETED, answer.output, would=answer.would, effects=answer.effects)
        if not answer.retryable or attempt >= step.retry.max_attempts:
            return Outcome(State.FAILED, error=answer.error)
        await _wait_for_retry(at, attempt, answer)


async def _attempt(at: At, attempt: int, filled: Rendered) -> ActionResult | _Failure:
    state, step = at.state, at.step
    call = ActionCall(
        execution_id=state.given.execution_id,
        playbook_id=state.given.playbook_id,
        asset_id=str(state.given.asset.get("id", "")),
        step_id=at.label,
        attempt=attempt,
        parameters=filled.value,
        secrets=filled.secrets,
        timeout=step.timeout,
        dry_run=state.given.dry_run,
        dry_run_reads=state.given.dry_run_reads,
    )
    try:
        if step.quick and step.idempotent:
            return await _run_local(at, call)
        flush(state)
        return await _run_ordinary(at, call)
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        # A local activity's failure comes bare, an ordinary one's inside an ActivityError.
        return _failure(error.cause if isinstance(error, ActivityError) else error)


async def _run_local(at: At, call: ActionCall) -> ActionResult:
    step: ActionStep = at.step
    call.timeout = min(step.timeout or QUICK_TIMEOUT, QUICK_TIMEOUT)
    handle = workflow.start_local_activity(
        step.action,
        call,
        result_type=ActionResult,
        activity_id=_activity_id(call),
        start_to_close_timeout=timedelta(seconds=call.timeout) + TIMEOUT_GRACE,
        retry_policy=CRASH_RETRY,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=step.name,
    )
    at.machine.count_quick()
    result: ActionResult = await at.machine.outside(handle)
    return result


async def _run_ordinary(at: At, call: ActionCall) -> ActionResult:
    step: ActionStep = at.step
    # A rehearsal touches nothing, so it may always be repeated.
    repeatable = step.idempotent or call.dry_run
    handle = workflow.start_activity(
        step.action,
        call,
        result_type=ActionResult,
        activity_id=_activity_id(call),
        start_to_close_timeout=timedelta(seconds=step.timeout) + TIMEOUT_GRACE if step.timeout else NO_TIMEOUT,
        heartbeat_timeout=HEARTBEAT_REPEATABLE if repeatable else HEARTBEAT_ONCE,
        retry_policy=CRASH_RETRY if repeatable else NO_RETRY,
        cancellation_type=(
            ActivityCancellationType.TRY_CANCEL if step.safe else ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        ),
        summary=step.name,
    )
    result: ActionResult = await at.machine.outside(handle)
    return result


def _activity_id(call: ActionCall) -> str:
    return call.step_id if call.attempt == 1 else f"{call.step_id}:{call.attempt}"


def _failure(cause: BaseException | None) -> _Failure:
    if isinstance(cause, ApplicationError) and cause.type != "WorkerShutdown":
        told = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
        return _Failure(
            ErrorInfo(cause.type or "internal", cause.message),
            retryable=bool(told.get("retryable", False)),
            retry_after=float(told.get("retry_after") or 0.0),
        )
    if isinstance(cause, TemporalTimeout) and cause.type is not TimeoutType.HEARTBEAT:
        return _Failure(ErrorInfo(TIMED_OUT, "the worker did not end the action in its time"), retryable=False)
    return _Failure(
        ErrorInfo(OUTCOME_UNKNOWN, "the worker was lost while the action ran; it may or may not have taken effect"),
        retryable=False,
    )


async def _wait_for_retry(at: At, attempt: int, failure: _Failure) -> None:
    seconds = max(retry_interval(at.step.retry, attempt), failure.retry_after)
    until = now_ms() + int(seconds * 1000)
    at.state.waits(at.frame, at.step, Waiting("retry", until), failure.error)
    if seconds > 0:
        await _pause(at, attempt, until)


async def _pause(at: At, attempt: int, until: int | None) -> None:
    await at.machine.pause(until, f"{at.step.name}: retry {attempt + 1}")


def retry_interval(retry: Retry, attempt: int) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 1)."""
    return float(min(retry.initial_interval * retry.backoff ** min(attempt - 1, 64), retry.max_interval))
