"""Step type ``parallel``: runs branches at the same time."""

from __future__ import annotations

from playbooks.plan import ParallelStep, Span
from playbooks.record import ErrorInfo, Json
from playbooks.states import State
from workflows.frame import Outcome
from workflows.machine import At
from workflows.scope import Scope, Stop
from workflows.steps.blocks import lets_finish, together


async def run_parallel(at: At) -> Outcome:
    """Runs every branch; one that fails stops the others, or lets them finish where failures are to be data."""
    step: ParallelStep = at.step
    inside = Scope(at.scope)

    async def branch(span: Span) -> ErrorInfo | None:
        error = await at.machine.walk(at.frame, span, inside)
        if error is not None and not lets_finish(step):
            inside.stop(Stop.FAILURE, error.message)
        return error

    try:
        errors = await together(at.state, [branch(span) for span in step.branches])
    finally:
        inside.close()
    output = _output(at)
    failed = [error for error in errors if error is not None]
    if not failed:
        return Outcome(State.COMPLETED, output)
    if at.scope.stopping is None:
        reason = f"{step.id} was stopped: {failed[0].message}"
        at.state.passed_over(at.frame, range(step.index + 1, step.after), State.SKIPPED, reason)
    return Outcome(State.FAILED, output, failed[0])


def _output(at: At) -> dict[str, Json]:
    """The outputs of the steps of the branches, by id."""
    step = at.step
    inside = [at.state.plan.steps[index] for index in range(step.index + 1, step.after)]
    mine = [part for part in inside if part.parent == step.index and part.id in at.frame.values]
    return {part.id: at.frame.values[part.id]["output"] for part in mine}
