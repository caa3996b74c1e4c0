"""Frames: the playbook itself, or one iteration of a loop, with the records and names of the steps in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from playbooks.plan import LOOPS, AnyStep
from playbooks.record import ErrorInfo, Json, StepRecord
from playbooks.states import State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended."""

    state: State
    output: Json = None
    error: ErrorInfo | None = None
    reason: str | None = None
    would: str | None = None
    effects: list[Json] | None = None


@dataclass(slots=True)
class Loop:
    """A loop under way.

    ``items`` is None for a ``while``; ``next`` is the first iteration that has not begun; ``open`` are those that
    have not ended; ``results`` and ``failures`` are of those that have; ``last`` is what the latest one left behind.
    """

    items: list[Json] | None
    next: int = 0
    open: dict[int, Frame] = field(default_factory=dict)
    results: dict[int, Json] = field(default_factory=dict)
    failures: dict[int, ErrorInfo] = field(default_factory=dict)
    last: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Frame:
    """One pass through steps that run once in it.

    ``path`` numbers the iterations that lead to it, none for the playbook itself.  ``names`` is what expressions see;
    ``values`` are the steps of this very frame among them.
    """

    path: tuple[int, ...]
    names: dict[str, Any]
    records: dict[int, StepRecord] = field(default_factory=dict)
    values: dict[str, Json] = field(default_factory=dict)
    loops: dict[int, Loop] = field(default_factory=dict)
    started_at: int | None = None

    def record(self, index: int) -> StepRecord:
        """The record of the step at ``index``."""
        known = self.records.get(index)
        if known is None:
            known = self.records[index] = StepRecord()
        return known

    def label(self, step: AnyStep) -> str:
        """The name of ``step`` in this frame, unique in the run: its id, and the numbers of the iterations."""
        return ".".join([step.id, *map(str, self.path)])

    def keep(self, step: AnyStep, outcome: Outcome) -> None:
        """Makes ``outcome`` what expressions see of ``step``."""
        error = {"code": outcome.error.code, "message": outcome.error.message} if outcome.error else None
        self.put(step.id, {"status": outcome.state.value, "output": outcome.output, "error": error})

    def put(self, step_id: str, value: Json) -> None:
        """Sets what expressions see of a step."""
        self.values[step_id] = value
        self.names["steps"][step_id] = value

    def outcome(self, step: AnyStep) -> Outcome | None:
        """How ``step`` ended; None when it has not."""
        record = self.records.get(step.index)
        if record is None or not record.state.is_final:
            return None
        return Outcome(record.state, self.values[step.id]["output"], record.error, record.reason)

    def owns(self, steps: list[AnyStep], step: AnyStep) -> bool:
        """Whether ``step`` runs in frames of this depth, and not in those of a loop further in."""
        depth, parent = 0, step.parent
        while parent is not None:
            depth += isinstance(steps[parent], LOOPS)
            parent = steps[parent].parent
        return depth == len(self.path)

    def inner(self, number: int, item: Json, *, with_item: bool) -> Frame:
        """The frame of iteration ``number`` of a loop that stands in this one."""
        names = {**self.names, "steps": dict(self.names["steps"]), "index": number}
        if with_item:
            names["item"] = item
        return Frame((*self.path, number), names)
