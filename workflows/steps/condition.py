"""Step type ``condition``: chooses the way by an expression."""

from __future__ import annotations

from playbooks.evaluation import EvaluationError, evaluate
from playbooks.plan import ConditionStep, Tree
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.route import target
from workflows.state import Outcome, RunState

EXPRESSION_ERROR = "expression_error"


async def run_condition(state: RunState, step: ConditionStep) -> Outcome:
    """Evaluates the expression; anything but true or false fails the step."""
    try:
        holds = truth(step.expression, state)
    except EvaluationError as error:
        return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, str(error)))
    way = step.on_true if holds else step.on_false
    return Outcome(State.COMPLETED, output={"result": holds}, goto=target(state.plan, step, way))


def truth(expression: Tree, state: RunState) -> bool:
    """The boolean that ``expression`` evaluates to; raises EvaluationError for any other value."""
    value = evaluate(expression, state.names)
    if not isinstance(value, bool):
        raise EvaluationError(f"the expression gives {type(value).__name__}, where true or false is needed")
    return value
