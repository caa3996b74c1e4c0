"""Step type ``while``: runs its body again as long as an expression holds."""

from __future__ import annotations

from typing import Any

from playbooks.evaluation import EvaluationError
from playbooks.plan import WhileStep
from playbooks.record import ErrorInfo
from playbooks.states import State
from workflows.expressions import EXPRESSION_ERROR, truth
from workflows.frame import Loop, Outcome
from workflows.machine import At
from workflows.scope import Scope
from workflows.steps.iteration import MAX_ITERATIONS as MAX_TOGETHER
from workflows.steps.iteration import TOO_MANY, run_iteration

MAX_ITERATIONS = "max_iterations"


async def run_while(at: At) -> Outcome:
    """Runs iterations until the expression is false; one that fails, or one too many, fails the step."""
    step: WhileStep = at.step
    loop = at.frame.loops.get(step.index) or at.state.loop_began(at.frame, step, None)
    inside = Scope(at.scope)
    try:
        while not inside.stopping:
            if not loop.open:
                if not truth(at.state, step.expression, _names(at, loop)):
                    return Outcome(State.COMPLETED, _output(loop))
                if loop.next >= step.max_iterations:
                    message = f"the expression still holds after {step.max_iterations} iterations"
                    return Outcome(State.FAILED, _output(loop), ErrorInfo(MAX_ITERATIONS, message))
                if at.state.begun >= MAX_TOGETHER:
                    message = f"the loops of a run have {MAX_TOGETHER} iterations at most, all together"
                    return Outcome(State.FAILED, _output(loop), ErrorInfo(TOO_MANY, message))
                loop.next += 1
            error = await run_iteration(at, loop, loop.next - 1, inside)
            loop.results = {key: loop.results[key] for key in loop.results if key == loop.next - 1}
            if error is not None:
                message = f"iteration {loop.next - 1} failed: {error.message}"
                return Outcome(State.FAILED, _output(loop), ErrorInfo(error.code, message))
    except EvaluationError as problem:
        return Outcome(State.FAILED, _output(loop), ErrorInfo(EXPRESSION_ERROR, str(problem)))
    finally:
        inside.close()
    return Outcome(State.CANCELLED, _output(loop))


def _names(at: At, loop: Loop) -> dict[str, Any]:
    """What the expression sees: the steps of the body too, as the last iteration left them, or pending."""
    step: WhileStep = at.step
    inside = at.state.plan.steps[step.body.start : step.body.stop]
    pending = {"status": State.PENDING.value, "output": None, "error": None}
    body = {part.id: loop.last.get(part.id, pending) for part in inside}
    return {**at.names, "steps": {**at.names["steps"], **body}, "index": loop.next}


def _output(loop: Loop) -> dict[str, Any]:
    """How many iterations there were, and what the last one gave."""
    return {"count": loop.next, "result": next(iter(loop.results.values()), None)}
