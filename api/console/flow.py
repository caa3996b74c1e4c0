"""The steps of a playbook as a drawing: nodes one under another, blocks around theirs, ways that lead elsewhere.

Drawn from the compiled plan, which is what runs; the words of expressions come from the definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from api.console.words import duration
from playbooks.plan import (
    ActionStep,
    AnyStep,
    ApprovalStep,
    ConditionStep,
    DelayStep,
    ForeachStep,
    Next,
    OnFailure,
    ParallelStep,
    Plan,
    PlaybookStep,
    Span,
    WhileStep,
)
from playbooks.record import Json

ICONS: Final = {
    "action": "bolt",
    "condition": "git-branch",
    "delay": "hourglass",
    "parallel": "arrows-split-2",
    "foreach": "repeat",
    "while": "refresh",
    "approval": "user-check",
    "playbook": "book-2",
}


@dataclass(frozen=True, slots=True)
class Way:
    """Where a step leads other than to the next one; ``step`` is None for the end."""

    label: str
    kind: str
    step: str | None = None
    name: str = "end"


@dataclass(frozen=True, slots=True)
class Node:
    """One step in the drawing; ``lanes`` are the lists of steps inside of it."""

    id: str
    name: str
    type: str
    told: str
    condition: str = ""
    ways: Sequence[Way] = ()
    marks: Sequence[str] = ()
    lanes: Sequence[Sequence[Node]] = ()
    on_failure_only: bool = False

    @property
    def icon(self) -> str:
        """The name of the icon of its type."""
        return ICONS.get(self.type, "puzzle")


@dataclass(frozen=True, slots=True)
class Drawing:
    """The steps of a playbook, and those that run whatever happened."""

    main: Sequence[Node]
    always: Sequence[Node] = ()


@dataclass(frozen=True, slots=True)
class _Drawer:
    plan: Plan
    written: Sequence[Mapping[str, Json]]
    names: Mapping[str, str] = field(default_factory=dict)

    def nodes(self, span: Span) -> list[Node]:
        found, index = [], span.start
        while index < span.stop:
            step = self.plan.steps[index]
            found.append(self.node(step))
            index = step.after
        return found

    def node(self, step: AnyStep) -> Node:
        written = self.written[step.index] if step.index < len(self.written) else {}
        return Node(
            id=step.id,
            name=step.name,
            type=step.type,
            told=_told(step, written),
            condition=str(written.get("when") or ""),
            ways=[way for way in self.ways(step) if way],
            marks=_marks(step),
            lanes=self.lanes(step),
            on_failure_only=step.on_failure_only,
        )

    def lanes(self, step: AnyStep) -> list[list[Node]]:
        if isinstance(step, ParallelStep):
            return [self.nodes(branch) for branch in step.branches]
        return [self.nodes(step.body)] if isinstance(step, ForeachStep | WhileStep) else []

    def ways(self, step: AnyStep) -> Iterator[Way | None]:
        if isinstance(step, ConditionStep):
            yield self.next("if true", step.on_true, always=True)
            yield self.next("if false", step.on_false, always=True)
        else:
            yield self.next("then", step.on_success)
        yield self.failure("on failure", step.on_failure)
        if isinstance(step, ApprovalStep):
            yield self.failure("on time-out", step.timeout_way)

    def next(self, label: str, way: Next, *, always: bool = False) -> Way | None:
        if way.kind == "jump" and way.to is not None:
            target = self.plan.steps[way.to]
            return Way(label, "jump", target.id, target.name)
        if way.kind == "end":
            return Way(label, "end")
        return Way(label, "next", None, "next step") if always else None

    def failure(self, label: str, way: OnFailure) -> Way | None:
        if way.kind == "handler" and way.to is not None:
            target = self.plan.steps[way.to]
            return Way(label, "handler", target.id, target.name)
        return Way(label, "next", None, "go on") if way.kind == "continue" else None


def draw(plan: Plan, definition: Mapping[str, Json]) -> Drawing:
    """The drawing of a compiled playbook."""
    written = list(_written(definition.get("steps") or [])) + list(_written(definition.get("always") or []))
    drawer = _Drawer(plan, written if len(written) == len(plan.steps) else [])
    return Drawing(drawer.nodes(plan.main), drawer.nodes(plan.always) if plan.always else [])


def _written(steps: Sequence[Json]) -> Iterator[Mapping[str, Json]]:
    """The steps as they are written, in the order of the plan: a block before its steps."""
    for step in steps:
        yield step
        for lane in step.get("branches") or []:
            yield from _written(lane)
        yield from _written(step.get("steps") or [])


def _told(step: AnyStep, written: Mapping[str, Json]) -> str:
    """What the step does, in one line."""
    if isinstance(step, ActionStep):
        return step.action
    if isinstance(step, DelayStep):
        return _seconds(step.duration)
    if isinstance(step, ForeachStep):
        items = written.get("items", "items")
        return f"for each of {items if isinstance(items, str) else 'the items'}"
    if isinstance(step, ConditionStep | WhileStep):
        return str(written.get("expression", ""))
    if isinstance(step, ApprovalStep):
        return str(written.get("message", ""))
    if isinstance(step, PlaybookStep):
        return str(written.get("playbook", step.playbook))
    return f"{len(step.branches)} branches at once"


def _marks(step: AnyStep) -> list[str]:
    """What else is worth knowing before it runs."""
    marks = []
    if isinstance(step, ActionStep):
        marks += ["reads only"] if step.safe else []
        marks += [f"up to {step.retry.max_attempts} attempts"] if step.retry.max_attempts > 1 else []
        marks += [f"{_seconds(step.timeout)} at most"] if step.timeout else []
    if isinstance(step, ForeachStep) and step.concurrency > 1:
        marks.append(f"{step.concurrency} at a time")
    if isinstance(step, WhileStep):
        marks.append(f"{step.max_iterations} times at most")
    if isinstance(step, ApprovalStep):
        marks += [f"by {', '.join(step.approvers)}"] if step.approvers else []
        marks += [f"within {_seconds(step.timeout)}"] if step.timeout else []
    return marks


def _seconds(seconds: float) -> str:
    return duration(round(seconds * 1000))
