"""Runs that repeat an earlier one: the same input and revision, and, where asked, what was completed then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from playbooks.contract import FrameSnapshot, LoopSnapshot, Snapshot
from playbooks.plan import LOOPS, ForeachStep, Plan
from playbooks.progress import encode_step
from playbooks.record import Json, StepRecord
from playbooks.states import State

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

    A block that did not complete is entered again; in a ``foreach`` the iterations that completed are kept.  The steps
    of ``always`` run again.
    """
    root = FrameSnapshot()
    rows: dict[int, list[Json]] = {}
    told: dict[str, dict[str, Json]] = {}
    for index in range(earlier.plan.main.stop):
        step, record = earlier.plan.steps[index], replace(earlier.steps[index], kept=True)
        if not _is_kept(earlier, index):
            if isinstance(step, ForeachStep) and not _in_loop(earlier.plan, index):
                root.loops[index] = LoopSnapshot(results=_results(earlier, step))
        elif _in_loop(earlier.plan, index):
            rows[index] = encode_step(record)
        else:
            io = dict(earlier.io.get(step.id) or {})
            root.records[index] = encode_step(record)
            root.values[step.id] = {"status": record.state.value, "output": io.pop("output", None), "error": None}
            if io:
                told[step.id] = io
    return Snapshot(root=root, rows=rows, io=told, vars=dict(earlier.variables))


def _results(earlier: Earlier, step: ForeachStep) -> dict[int, Json]:
    """What the completed iterations of a loop gave, by their numbers."""
    output = (earlier.io.get(step.id) or {}).get("output")
    results = output["results"] if isinstance(output, dict) else []
    done = [path[-1] for path, state, *_ in earlier.iterations.get(step.id) or [] if state == State.COMPLETED.value]
    return {number: results[number] for number in sorted(done) if number < len(results)}


def _is_kept(earlier: Earlier, index: int) -> bool:
    """A step is kept when it completed, or a block around it did; inside of a loop, only with all of the loop."""
    current: int | None = index
    while current is not None:
        if earlier.steps[current].state is State.COMPLETED and not _in_loop(earlier.plan, current):
            return True
        current = earlier.plan.steps[current].parent
    return False


def _in_loop(plan: Plan, index: int) -> bool:
    parent = plan.steps[index].parent
    while parent is not None:
        if isinstance(plan.steps[parent], LOOPS):
            return True
        parent = plan.steps[parent].parent
    return False
