"""Runs that repeat an earlier one: the same input and revision, and, where asked, what was completed then."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from playbooks.contract import OF_ITEMS, FrameSnapshot, LoopSnapshot, Snapshot
from playbooks.plan import LOOPS, AnyStep, ForeachStep, ParallelStep, Plan, Span
from playbooks.progress import decode_step, encode_step
from playbooks.record import Json, StepRecord
from playbooks.states import State
from workflows.frame import Outcome
from workflows.route import onward

FROM_FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that has closed: its plan, its steps, and what they had and gave, by step id."""

    plan: Plan
    steps: Sequence[StepRecord]
    io: Mapping[str, Json]
    iterations: Mapping[str, Json]
    variables: Mapping[str, Json]


def kept(earlier: Earlier) -> Snapshot:
    """What a rerun keeps: completed steps with their results, and the variables.

    A block that did not complete is entered again; in a ``foreach`` the iterations that completed are kept, as far as
    their items turn out to be the same.  What a failure had jumped to, and the steps after that, are for that failure:
    they are not kept.  Nor is ``always``.
    """
    root = FrameSnapshot()
    rows: dict[int, list[Json]] = {}
    told: dict[str, dict[str, Json]] = {}
    iterations: dict[str, list[Json]] = {}
    digests: dict[str, dict[int, str]] = {}
    handling = _handling(earlier)
    for index in range(earlier.plan.main.stop):
        step, record = earlier.plan.steps[index], replace(earlier.steps[index], kept=True)
        if earlier.plan.is_in_loop(step):
            if _is_kept(earlier, index, handling):
                rows[index] = encode_step(record)
        elif _is_kept(earlier, index, handling):
            io = dict(earlier.io.get(step.id) or {})
            root.records[index] = encode_step(record)
            error = {"code": record.error.code, "message": record.error.message} if record.error else None
            root.values[step.id] = {"status": record.state.value, "output": io.pop("output", None), "error": error}
            if step.id in earlier.io:
                told[step.id] = io
            if isinstance(step, LOOPS):
                iterations.update(_iterations(earlier, step))
        elif isinstance(step, ForeachStep) and index not in handling:
            root.loops[index] = LoopSnapshot(results=_results(earlier, step))
            digests[step.id] = dict(earlier.iterations.get(f"{step.id}{OF_ITEMS}") or [])
            iterations.update(_iterations(earlier, step, root.loops[index].results))
    variables = dict(earlier.variables)
    return Snapshot(root=root, rows=rows, io=told, vars=variables, iterations=iterations, digests=digests)


def _results(earlier: Earlier, step: ForeachStep) -> dict[int, Json]:
    """What the completed iterations of a loop gave, by their numbers."""
    output = (earlier.io.get(step.id) or {}).get("output")
    results = output["results"] if isinstance(output, dict) else []
    done = [path[-1] for path, state, *_ in earlier.iterations.get(step.id) or [] if state == State.COMPLETED.value]
    return {number: results[number] for number in sorted(done) if number < len(results)}


def _iterations(earlier: Earlier, step: AnyStep, kept: Collection[int] | None = None) -> dict[str, list[Json]]:
    """The records of the iterations that are kept, or of all, and of those inside of them, marked as kept."""
    inside = (earlier.plan.steps[index].id for index in range(step.index, step.after))
    found = {
        loop: [row for row in earlier.iterations.get(loop) or [] if kept is None or row[0][0] in kept]
        for loop in inside
    }
    return {loop: [_marked(row) for row in rows] for loop, rows in found.items() if rows}


def _marked(row: list[Json]) -> list[Json]:
    *before, steps = row
    return [*before, {index: encode_step(replace(decode_step(step), kept=True)) for index, step in steps.items()}]


def _handling(earlier: Earlier) -> set[int]:
    """The steps that a failure had jumped to, and all after them in their lists."""
    found: set[int] = set()
    for index in range(earlier.plan.main.stop):
        step, record = earlier.plan.steps[index], earlier.steps[index]
        if record.state is State.FAILED:
            span = _list_of(earlier.plan, step)
            way = onward(earlier.plan, span, step, Outcome(State.FAILED, error=record.error))
            if way.jumped:
                found.update(range(way.to, span.stop))
    return found


def _list_of(plan: Plan, step: AnyStep) -> Span:
    """The list of steps that ``step`` stands in."""
    if step.parent is None:
        return plan.main
    block = plan.steps[step.parent]
    spans = block.branches if isinstance(block, ParallelStep) else [block.body] if isinstance(block, LOOPS) else []
    return next(span for span in spans if span.start <= step.index < span.stop)


def _is_kept(earlier: Earlier, index: int, handling: Collection[int]) -> bool:
    """A step is kept when it completed, or a block around it did; inside of a loop, only with all of the loop."""
    current: int | None = index
    while current is not None:
        step = earlier.plan.steps[current]
        completed = earlier.steps[current].state is State.COMPLETED and current not in handling
        if completed and not earlier.plan.is_in_loop(step):
            return True
        current = step.parent
    return False
