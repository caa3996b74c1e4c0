"""What a listener is told of an execution, as server-sent events: each change from what it knows to what is so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

from api.event_ids import PENDING, event_id, read_event_id, signature, state_letter
from api.execution_json import execution_json, step_json
from executions.truth import Truth
from playbooks.record import StepRecord
from playbooks.states import State

TOLD_AT_ONCE = 50
"""Events that are made in one go; then others have their turn.  Each of a long run takes a part of a millisecond."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a listener knows: the letter of the execution's state, None before the first event, and of its steps."""

    state: str | None = None
    signatures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """The events for everybody who knows ``before``, made once for all of them, and what they know afterwards."""

    before: Known
    after: Known
    pieces: tuple[bytes, ...]
    """In wire form, each with as many events as are made in one go."""


@dataclass(slots=True)
class Story:
    """What one listener has been told, and the events that bring it up to date."""

    ui_url: str | None
    state: str | None = None
    signatures: list[str] = field(default_factory=list)

    @property
    def known(self) -> Known:
        """What the listener knows now."""
        return Known(self.state, tuple(self.signatures))

    def resume(self, last_event_id: str, steps: int) -> None:
        """Takes up where a client left off; an id that is none of ours starts the story anew."""
        known = read_event_id(last_event_id, steps)
        if known:
            self.state, self.signatures = known

    def begin(self, truth: Truth) -> None:
        """Takes ``truth`` for told."""
        self.state = state_letter(truth.record.state)
        self.signatures = [signature(step) for step in truth.record.steps]

    def tell(self, truth: Truth) -> Iterator[str]:
        """The events, in wire form, from what the listener knows to ``truth``; each is made when it is asked for."""
        steps = truth.record.steps
        if self.state is None:
            self.begin(truth)
            yield self._execution(truth)
            return
        for index, record in _changes(self.signatures, steps):
            yield self._step(truth, index, record)
        if self.state != state_letter(truth.record.state):
            self.state = state_letter(truth.record.state)
            yield self._execution(truth)

    async def pieces(self, truth: Truth, chapter: Chapter | None = None) -> AsyncIterator[bytes]:
        """The events to ``truth``, many together; those of ``chapter``, which leads there, where it begins here."""
        if chapter is not None and chapter.before == self.known:
            self.state, self.signatures = chapter.after.state, list(chapter.after.signatures)
            for piece in chapter.pieces:
                yield piece
            return
        events = []
        for event in self.tell(truth):
            events.append(event)
            if len(events) == TOLD_AT_ONCE:
                yield "".join(events).encode()
                events.clear()
                await asyncio.sleep(0)
        if events:
            yield "".join(events).encode()

    async def chapter(self, truth: Truth) -> Chapter:
        """The events to ``truth``, for all who know the same."""
        before = self.known
        pieces = tuple([piece async for piece in self.pieces(truth)])
        return Chapter(before, self.known, pieces)

    def _execution(self, truth: Truth) -> str:
        return self._event("execution", execution_json(truth, self.ui_url))

    def _step(self, truth: Truth, index: int, record: StepRecord) -> str:
        self.signatures[index] = signature(record)
        then = replace(truth, record=replace(truth.record, steps=_with(truth.record.steps, index, record)))
        status = State.RUNNING if truth.is_final else truth.record.state
        return self._event(
            "step", {"execution_id": truth.row.id, "status": status.value, "step": step_json(then, index)}
        )

    def _event(self, kind: str, data: object) -> str:
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        return f"id: {event_id(self.state or PENDING, self.signatures)}\nevent: {kind}\ndata: {text}\n\n"


def _with(steps: list[StepRecord], index: int, record: StepRecord) -> list[StepRecord]:
    return steps if steps[index] is record else [*steps[:index], record, *steps[index + 1 :]]


def _changes(known: list[str], steps: list[StepRecord]) -> list[tuple[int, StepRecord]]:
    """The steps that changed, in the order of their times; one that began and ended since is told twice."""
    changes: list[tuple[int, int, StepRecord]] = []
    latest = 0  # a step that is skipped has no time of its own and comes after those before it
    for index, (before, step) in enumerate(zip(known, steps, strict=True)):
        if before == signature(step):
            continue
        if before == PENDING and step.state.is_final and step.started_at is not None:
            began = StepRecord(state=State.RUNNING, started_at=step.started_at, attempt=step.attempt)
            changes.append((step.started_at, index, began))
        latest = max(latest, step.finished_at or step.started_at or 0)
        changes.append((step.finished_at or step.started_at or latest, index, step))
    changes.sort(key=lambda change: change[0])
    return [(index, step) for _, index, step in changes]
