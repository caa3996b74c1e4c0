"""What comes after a step: pure functions of the plan and of how the step ended."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.plan import AnyStep, ApprovalStep, ConditionStep, Next, Plan, Span
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.frame import Outcome

APPROVAL_TIMED_OUT = "approval_timed_out"


@dataclass(frozen=True, slots=True)
class Onward:
    """The next index (that of the list's ``stop`` is its end), why others are passed over, a failure of the list."""

    to: int
    jumped: bool = False
    reason: str | None = None
    error: ErrorInfo | None = None


def onward(plan: Plan, span: Span, step: AnyStep, outcome: Outcome) -> Onward:
    """Where the steps of ``span`` go on after ``step`` ended with ``outcome`` (FORMAT.md, *Rules: Failure*)."""
    if outcome.state is State.FAILED:
        return _after_failure(plan, span, step, outcome)
    if outcome.state is not State.COMPLETED:
        return Onward(step.after)
    way = _way(step, outcome)
    to = span.stop if way.kind == "end" else way.to if way.kind == "jump" and way.to is not None else step.after
    if to == step.after:
        return Onward(to, jumped=way.kind == "jump")
    if to == span.stop:
        return Onward(to, reason=f"{step.id} ended the {'run' if step.parent is None else 'steps around it'}")
    return Onward(to, jumped=True, reason=f"{step.id} went on to {plan.steps[to].id}")


def _way(step: AnyStep, outcome: Outcome) -> Next:
    """The way that a completed step names."""
    if isinstance(step, ConditionStep):
        return step.on_true if outcome.output["result"] else step.on_false
    return step.on_success


def _after_failure(plan: Plan, span: Span, step: AnyStep, outcome: Outcome) -> Onward:
    cause = outcome.error or ErrorInfo("internal", "unknown failure")
    way = step.on_failure
    if isinstance(step, ApprovalStep) and cause.code == APPROVAL_TIMED_OUT:
        way = step.timeout_way
    if way.kind == "continue":
        return Onward(step.after)
    if way.kind == "handler" and way.to is not None:
        return Onward(way.to, jumped=True, reason=f"{step.id} failed and {plan.steps[way.to].id} handles it")
    return Onward(
        span.stop, reason=f"{step.id} failed", error=ErrorInfo(cause.code, f"step {step.id} failed: {cause.message}")
    )
