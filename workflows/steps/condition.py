"""Step type ``condition``: chooses the way by an expression."""

from __future__ import annotations

from playbooks.evaluation import EvaluationError
from playbooks.plan import ConditionStep
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.expressions import EXPRESSION_ERROR, truth
from workflows.frame import Outcome
from workflows.machine import At


async def run_condition(at: At) -> Outcome:
    """Evaluates the expression; anything but true or false fails the step."""
    step: ConditionStep = at.step
    try:
        holds = truth(at.state, step.expression, at.names)
    except EvaluationError as error:
        return Outcome(State.FAILED, error=ErrorInfo(EXPRESSION_ERROR, str(error)))
    return Outcome(State.COMPLETED, output={"result": holds})
