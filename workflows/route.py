"""What comes after a step: pure functions of the plan and of how the step ended."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.plan import AnyStep, Next, Plan
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.state import Outcome


@dataclass(frozen=True, slots=True)
class Onward:
    """The next index (the number of steps is the end), why those between are passed over, and a failure of the run."""

    to: int
    jumped: bool = False
    reason: str | None = None
    error: ErrorInfo | None = None


def onward(plan: Plan, step: AnyStep, outcome: Outcome) -> Onward:
    """Where the run goes after ``step`` ended with ``outcome`` (FORMAT.md, *Rules: Failure*)."""
    if outcome.state is State.FAILED:
        return _after_failure(plan, step, outcome)
    if outcome.goto is not None and outcome.goto != step.index + 1:
        return _jump(plan, step, outcome.goto)
    return Onward(step.index + 1)


def target(plan: Plan, step: AnyStep, way: Next) -> int:
    """The index that ``way`` names."""
    if way.kind == "end":
        return len(plan.steps)
    if way.kind == "jump" and way.to is not None:
        return way.to
    return step.index + 1


def _jump(plan: Plan, step: AnyStep, to: int) -> Onward:
    if to == len(plan.steps):
        return Onward(to, reason=f"{step.id} ended the run")
    return Onward(to, jumped=True, reason=f"{step.id} went on to {plan.steps[to].id}")


def _after_failure(plan: Plan, step: AnyStep, outcome: Outcome) -> Onward:
    way = step.on_failure
    if way.kind == "continue":
        return Onward(step.index + 1)
    if way.kind == "handler" and way.to is not None:
        return Onward(way.to, jumped=True, reason=f"{step.id} failed and {plan.steps[way.to].id} handles it")
    cause = outcome.error or ErrorInfo("internal", "unknown failure")
    return Onward(
        len(plan.steps),
        reason=f"{step.id} failed",
        error=ErrorInfo(cause.code, f"step {step.id} failed: {cause.message}"),
    )
