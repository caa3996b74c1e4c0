"""Server-sent events of one execution: one for every change, until the final state.

All listeners of an execution in this process share one reader, which asks Temporal a few times a second; each
listener then works out for itself what is new to it.  So a slow listener holds nobody up, and holds no queue: what it
missed reaches it as one step after another, when it reads again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

from api.event_ids import PENDING, event_id, read_event_id, signature, state_letter
from api.execution_json import execution_json, step_json
from engine.errors import TemporalUnavailable
from executions.truth import Truth
from playbooks.record import StepRecord
from playbooks.states import State
from storage.errors import DatabaseUnavailable

POLL = 0.2
"""Seconds between two looks at a run that somebody listens to."""

AWAY_POLL = 1.0
"""The same while Temporal or the database is away."""

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that proxies keep the connection."""

LONGEST = 3600.0
"""Seconds after which a stream ends though the run goes on: a client that comes back has its token judged anew."""

Read = Callable[[], Awaitable[Truth]]


@dataclass(slots=True)
class Watch:
    """The latest known truth of one execution, and a way to wait for the next."""

    truth: Truth
    listeners: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: BaseException | None = None
    """What has ended the reader before the run was final."""
    reader: asyncio.Task[None] | None = None

    def publish(self, truth: Truth) -> None:
        """Sets the latest truth and wakes every listener."""
        self.truth = truth
        self.wake()

    def wake(self) -> None:
        """Wakes every listener."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watches:
    """One reader for each execution that somebody listens to."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}

    async def listen(self, first: Truth, read: Read) -> AsyncGenerator[Truth | None, None]:
        """Yields ``first`` and then each later truth; None after a silence.  Ends after a final one, and
        after ``LONGEST``.

        While Temporal or the database is away there is silence.  Raises what else ``read`` raises.
        """
        key = first.row.id
        if first.is_final:
            yield first
            return
        watch = self._join(key, first, read)
        try:
            yield first
            seen, loop = first, asyncio.get_running_loop()
            ends = loop.time() + LONGEST
            while not seen.is_final and loop.time() < ends:
                changed = watch.changed
                if watch.truth is seen or watch.truth == seen:
                    if watch.failure is not None:
                        raise watch.failure
                    try:
                        await asyncio.wait_for(changed.wait(), HEARTBEAT)
                    except TimeoutError:
                        yield None
                    continue
                seen = watch.truth
                yield seen
        finally:
            self._leave(key, watch)

    async def close(self) -> None:
        """Ends every reader."""
        for watch in self._watches.values():
            _end(watch)
        self._watches.clear()

    def _join(self, key: str, first: Truth, read: Read) -> Watch:
        watch = self._watches.get(key)
        if watch is None or watch.failure is not None:  # one that failed stays with those who have not heard of it
            watch = self._watches[key] = Watch(first)
            watch.reader = asyncio.create_task(_follow(watch, read))
        watch.listeners += 1
        return watch

    def _leave(self, key: str, watch: Watch) -> None:
        watch.listeners -= 1
        if watch.listeners == 0:
            _end(watch)
            if self._watches.get(key) is watch:
                del self._watches[key]


def _end(watch: Watch) -> None:
    if watch.reader is not None:
        watch.reader.cancel()


async def _follow(watch: Watch, read: Read) -> None:
    pause = POLL
    try:
        while not watch.truth.is_final:
            await asyncio.sleep(pause)
            pause = AWAY_POLL
            with contextlib.suppress(TemporalUnavailable, DatabaseUnavailable):
                truth = await read()
                pause = POLL
                if truth != watch.truth:
                    watch.publish(truth)
    except Exception as error:
        watch.failure = error
        watch.wake()


@dataclass(slots=True)
class Story:
    """What one listener has been told, and the events that bring it up to date."""

    ui_url: str | None
    state: str | None = None
    signatures: list[str] = field(default_factory=list)

    def resume(self, last_event_id: str, steps: int) -> None:
        """Takes up where a client left off; an id that is none of ours starts the story anew."""
        known = read_event_id(last_event_id, steps)
        if known:
            self.state, self.signatures = known

    def tell(self, truth: Truth) -> Iterator[str]:
        """The events, in wire form, from what the listener knows to ``truth``; each is made when it is asked for."""
        steps = truth.record.steps
        if self.state is None:
            self.state, self.signatures = state_letter(truth.record.state), [signature(step) for step in steps]
            yield self._execution(truth)
            return
        for index, record in _changes(self.signatures, steps):
            yield self._step(truth, index, record)
        if self.state != state_letter(truth.record.state):
            self.state = state_letter(truth.record.state)
            yield self._execution(truth)

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
