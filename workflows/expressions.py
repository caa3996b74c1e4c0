"""Expressions of a plan, evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.evaluation import EvaluationError, evaluate
from playbooks.plan import Tree

EXPRESSION_ERROR = "expression_error"


def truth(expression: Tree, names: Mapping[str, Any]) -> bool:
    """The boolean that ``expression`` evaluates to; raises EvaluationError for any other value."""
    value = evaluate(expression, names)
    if not isinstance(value, bool):
        raise EvaluationError(f"the expression gives {type(value).__name__}, where true or false is needed")
    return value
