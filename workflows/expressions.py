"""Expressions and templates of a plan, evaluated, and what that took of the run's turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.evaluation import EvaluationError, evaluate
from playbooks.plan import Template, Tree
from playbooks.templates import Rendered, render
from playbooks.values import MAX_BYTES, MAX_STEPS, Budget
from workflows.state import RunState

EXPRESSION_ERROR = "expression_error"

BYTES_A_STEP = 100
"""Bytes of new values that take about as long as one step of an evaluation."""


def truth(state: RunState, expression: Tree, names: Mapping[str, Any]) -> bool:
    """The boolean that ``expression`` evaluates to; raises EvaluationError for any other value."""
    budget = Budget()
    try:
        value = evaluate(expression, names, budget)
    finally:
        state.effort += _taken(budget)
    if not isinstance(value, bool):
        raise EvaluationError(f"the expression gives {type(value).__name__}, where true or false is needed")
    return value


def rendered(state: RunState, template: Template, names: Mapping[str, Any]) -> Rendered:
    """The value of ``template``; raises EvaluationError."""
    budget = Budget()
    try:
        return render(template, names, budget)
    finally:
        state.effort += _taken(budget)


def _taken(budget: Budget) -> int:
    return MAX_STEPS - budget.steps + (MAX_BYTES - budget.bytes) // BYTES_A_STEP
