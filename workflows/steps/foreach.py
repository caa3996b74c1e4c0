"""Step type ``foreach``: runs its body once for each item, some of them at the same time."""

from __future__ import annotations

from playbooks.evaluation import EvaluationError
from playbooks.layout import MAX_STEPS
from playbooks.plan import ForeachStep
from playbooks.record import ErrorInfo, Json
from playbooks.states import State
from workflows.expressions import EXPRESSION_ERROR, rendered
from workflows.frame import Loop, Outcome
from workflows.machine import At
from workflows.scope import Scope, Stop
from workflows.steps.blocks import lets_finish, together
from workflows.steps.iteration import MAX_ITERATIONS, TOO_MANY, run_iteration


async def run_foreach(at: At) -> Outcome:
    """Runs the iterations; one that fails stops the loop, or is kept as data while the others go on."""
    step: ForeachStep = at.step
    loop = at.frame.loops.get(step.index)
    if loop is None or loop.items is None:
        items = _items(at)
        if isinstance(items, ErrorInfo):
            return Outcome(State.FAILED, error=items)
        loop = at.state.loop_began(at.frame, step, items, earlier=loop.results if loop else None)
    await _run_all(at, loop)
    return _outcome(step, loop)


async def _run_all(at: At, loop: Loop) -> None:
    step: ForeachStep = at.step
    count = len(loop.items or [])
    inside = Scope(at.scope)
    opened = sorted(loop.open)
    if loop.failures and not lets_finish(step):
        inside.stop(Stop.FAILURE, f"an iteration of {step.id} failed")

    async def work() -> None:
        while not inside.stopping and (opened or loop.next < count):
            if opened:
                number = opened.pop(0)
            else:
                number, loop.next = loop.next, loop.next + 1
                if number in loop.results:
                    continue
            error = await run_iteration(at, loop, number, inside, step.output)
            if error is not None and not lets_finish(step):
                inside.stop(Stop.FAILURE, f"iteration {number} of {step.id}: {error.message}")

    try:
        await together(at.state, [work() for _ in range(min(step.concurrency, len(opened) + count - loop.next))])
    finally:
        inside.close()


def _items(at: At) -> list[Json] | ErrorInfo:
    try:
        items = rendered(at.state, at.step.items, at.names).value
    except EvaluationError as error:
        return ErrorInfo(EXPRESSION_ERROR, f"items: {error}")
    if not isinstance(items, list):
        return ErrorInfo(EXPRESSION_ERROR, f"items: this gives {type(items).__name__}, where a list is needed")
    if len(items) > MAX_STEPS:
        return ErrorInfo("too_many_items", f"there are {len(items)} items; {MAX_STEPS} is the most")
    if at.state.begun + len(items) > MAX_ITERATIONS:
        return ErrorInfo(TOO_MANY, f"the loops of a run have {MAX_ITERATIONS} iterations at most, all together")
    return items


def _outcome(step: ForeachStep, loop: Loop) -> Outcome:
    count = len(loop.items or [])
    failures = [
        {"index": number, "code": error.code, "message": error.message}
        for number, error in sorted(loop.failures.items())
    ]
    output = {
        "count": count,
        "completed": len(loop.results),
        "failed": len(failures),
        "results": [loop.results.get(number) for number in range(count)],
        "failures": failures,
    }
    if not failures:
        return Outcome(State.COMPLETED, output)
    number, first = sorted(loop.failures.items())[0]
    many = f"{len(failures)} of {count} iterations failed" if len(failures) > 1 else f"iteration {number} failed"
    return Outcome(State.FAILED, output, ErrorInfo(first.code, f"{many}: {first.message}"))
