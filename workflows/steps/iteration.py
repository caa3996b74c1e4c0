"""One iteration of a loop, of either type."""

from __future__ import annotations

from playbooks.evaluation import EvaluationError
from playbooks.plan import ForeachStep, Template, WhileStep
from playbooks.record import ErrorInfo, Json
from playbooks.states import State
from workflows.clock import now_ms
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.frame import Frame, Loop
from workflows.machine import At
from workflows.scope import Scope, Stop

MAX_ITERATIONS = 100_000
"""Iterations of all loops of a run together: each is kept, in the worker's memory and in the record."""

TOO_MANY = "too_many_iterations"


async def run_iteration(
    at: At, loop: Loop, number: int, scope: Scope, output: Template | None = None
) -> ErrorInfo | None:
    """Runs iteration ``number``, from its beginning or from where it was; why it failed, or None.

    What it gives stands in ``loop.results``.  Raises Parked.
    """
    step: ForeachStep | WhileStep = at.step
    frame = loop.open.get(number)
    if frame is None:
        item = loop.items[number] if loop.items is not None else None
        frame = at.state.iteration_began(at.frame, step, number, item, now_ms())
    error = await at.machine.walk(frame, step.body, scope)
    state = State.FAILED if error else State.CANCELLED if scope.stopping else State.COMPLETED
    if state is State.COMPLETED:
        try:
            loop.results[number] = _result(at, frame, output)
        except EvaluationError as problem:
            state, error = State.FAILED, ErrorInfo(EXPRESSION_ERROR, f"output: {problem}")
    left = State.CANCELLED if scope.stopping is Stop.CANCEL else State.SKIPPED
    at.state.passed_over(frame, range(step.body.start, step.body.stop), left, scope.reason)
    at.state.iteration_ended(at.frame, step, frame, state, error, now_ms())
    return error


def _result(at: At, frame: Frame, output: Template | None) -> Json:
    if output is not None:
        return rendered(at.state, output, frame.names).value
    body = at.state.plan.steps[at.step.body.start : at.step.body.stop]
    ended = [frame.values[step.id] for step in body if step.parent == at.step.index and step.id in frame.values]
    done = [value["output"] for value in ended if value["status"] == State.COMPLETED.value]
    return done[-1] if done else None
