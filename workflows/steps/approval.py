"""Step type ``approval``: waits until somebody decides; a rehearsal grants it and says so."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from playbooks.contract import NOTE_DECISION_ACTIVITY, Decide, DecisionNote
from playbooks.evaluation import EvaluationError
from playbooks.plan import ApprovalStep
from playbooks.record import ErrorInfo, Json, Waiting
from playbooks.states import State
from playbooks.templates import as_text
from workflows.approvals import Request
from workflows.clock import iso, now_ms
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.frame import Outcome
from workflows.machine import At, Parked
from workflows.route import APPROVAL_TIMED_OUT

REJECTED = "rejected"
NOTE_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))


async def run_approval(at: At) -> Outcome:
    """Waits for a decision, ``step.timeout`` seconds at most."""
    step: ApprovalStep = at.step
    try:
        message = as_text(rendered(at.state, step.message, at.names).value)
    except EvaluationError as error:
        return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, f"message: {error}"))
    at.state.given_to(at.frame, step, {"message": message, "approvers": step.approvers})
    if at.state.given.dry_run:
        who = " or ".join(step.approvers) or "anybody who may run playbooks"
        return Outcome(State.COMPLETED, _granted(None, None), would=f"would ask {who}: {message}", effects=[])
    waiting = at.frame.record(step.index).waiting_for
    if waiting is None:
        at.machine.gate()
        waiting = Waiting("approval", now_ms() + int(step.timeout * 1000) if step.timeout else None)
        at.state.waits(at.frame, step, waiting)
    approvals = at.machine.approvals
    request = approvals.open(at.label, Request(step.approvers, waiting.until))
    try:
        decided = await at.machine.pause(waiting.until, f"{step.name}: approval", lambda: request.decision is not None)
    except Parked:
        approvals.park(at.label)
        raise
    except asyncio.CancelledError:
        approvals.close(at.label)
        if request.decision is not None:
            await _note(at, request.decision)
        raise
    approvals.close(at.label)
    if not decided or request.decision is None:
        return _timed_out(step)
    await _note(at, request.decision)
    return _outcome(request.decision)


def _outcome(decision: Decide) -> Outcome:
    if decision.approve:
        return Outcome(State.COMPLETED, _granted(decision.by or "temporal", decision.comment))
    comment = f": {decision.comment}" if decision.comment else ""
    return Outcome(State.FAILED, error=ErrorInfo(REJECTED, f"rejected by {decision.by or 'temporal'}{comment}"))


def _timed_out(step: ApprovalStep) -> Outcome:
    if step.on_timeout == "approve":
        return Outcome(State.COMPLETED, _granted(None, "nobody decided in time"))
    return Outcome(State.FAILED, error=ErrorInfo(APPROVAL_TIMED_OUT, f"nobody decided within {step.timeout:g} s"))


def _granted(by: str | None, comment: str | None) -> dict[str, Json]:
    return {"approved": True, "by": by, "comment": comment, "at": iso(now_ms())}


async def _note(at: At, decision: Decide) -> None:
    """Writes the decision into the audit trail, whatever way it came, and also when the step is stopped meanwhile."""
    note = DecisionNote(
        execution_id=at.state.given.execution_id,
        step=at.label,
        approved=decision.approve,
        by=decision.by,
        by_id=decision.by_id,
        comment=decision.comment,
        address=decision.address,
        at=now_ms(),
    )
    handle = workflow.start_local_activity(
        NOTE_DECISION_ACTIVITY,
        note,
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=NOTE_RETRY,
        summary="note the decision",
    )
    await at.machine.through(handle)
