"""The one reader behind all listeners of an execution: what becomes of them while Temporal or the database is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from api.events import Heard, Read, Watches
from api.story import Story
from engine.errors import TemporalUnavailable
from executions.truth import Truth
from playbooks.record import RunRecord, StepRecord, Tally
from playbooks.states import State
from storage.errors import DatabaseUnavailable

AWAY = [TemporalUnavailable("unavailable: gone"), DatabaseUnavailable("gone")]


def truth(state: State = State.RUNNING) -> Truth:
    """An execution in this state, as far as a listener looks at it."""
    row: Any = type("Row", (), {"id": "exec-1"})()
    revision: Any = None
    return Truth(row, revision, RunRecord([], state=state), "run-1")


RUNNING = truth()
DONE = replace(RUNNING, record=RunRecord([], state=State.COMPLETED))


def reading(*answers: Truth | Exception) -> Read:
    """A way to read that gives one answer after the other, and the last one from then on."""
    left = list(answers)

    async def read() -> Truth:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return read


@pytest.fixture
async def watches(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watches]:
    """Readers that look more often than those of an API."""
    monkeypatch.setattr("api.events.POLL", 0.01)
    monkeypatch.setattr("api.events.AWAY_POLL", 0.01)
    monkeypatch.setattr("api.story.Story._execution", lambda self, truth: self._event("execution", {}))
    made = Watches()
    yield made
    await made.close()


@pytest.mark.parametrize("away", AWAY)
async def test_a_listener_outlives_an_outage(watches: Watches, away: Exception) -> None:
    """What is away comes back, and the listener is told the rest without having to come again."""
    async with asyncio.timeout(60):
        heard = [one.truth async for one in watches.listen(RUNNING, reading(RUNNING, away, away, DONE)) if one]
    assert heard == [RUNNING, DONE]


async def test_a_listener_hears_of_a_fault(watches: Watches) -> None:
    """What does not pass by itself ends the stream."""
    async with asyncio.timeout(60):
        with pytest.raises(LookupError):
            _ = [one async for one in watches.listen(RUNNING, reading(LookupError("no such row")))]


async def test_a_slow_listener_keeps_no_dead_reader_for_others(watches: Watches) -> None:
    """A reader has ended with a fault that one listener has not taken yet: who comes then has one of their own."""
    slow = watches.listen(RUNNING, reading(LookupError("no such row")))
    async with contextlib.aclosing(slow):
        await anext(slow)
        watch = watches._watches[RUNNING.row.id]
        assert watch.reader is not None
        await asyncio.wait([watch.reader], timeout=60)
        assert watch.failure is not None
        async with asyncio.timeout(60):
            heard = [one.truth async for one in watches.listen(RUNNING, reading(DONE)) if one]
        assert heard == [RUNNING, DONE]
    assert watches._watches == {}


async def test_a_stream_does_not_outlive_its_token_for_ever(watches: Watches, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour it ends though the run goes on: who comes again is asked for a good token again."""
    monkeypatch.setattr("api.events.LONGEST", 0.0)
    async with asyncio.timeout(60):
        heard = [one.truth async for one in watches.listen(RUNNING, reading(RUNNING)) if one]
    assert heard == [RUNNING]
    assert watches._watches == {}


NAME = {"id": "act-1", "name": "n", "type": "action", "action": "core.echo", "parent": None}


def stepped(*steps: StepRecord) -> Truth:
    """A running execution with these steps."""
    row: Any = type("Row", (), {"id": "exec-1", "parameters": {}})()
    revision: Any = type("Revision", (), {"steps": [type("Name", (), NAME)()] * len(steps), "secret_parameters": ()})()
    return Truth(row, revision, RunRecord(list(steps), state=State.RUNNING), "run-1")


PENDING, BEGUN = StepRecord(), StepRecord(state=State.RUNNING, started_at=1, attempt=1)
ENDED = StepRecord(state=State.COMPLETED, started_at=1, finished_at=2, attempt=1)


async def told(watches: Watches, story: Story, first: Truth, *later: Truth) -> list[bytes]:
    """What somebody is told who comes with ``story`` while the reader sees one truth after the other."""
    made: list[bytes] = []
    async for heard in watches.listen(first, reading(*later)):
        assert heard is not None
        made += [piece async for piece in story.pieces(heard.truth, heard.chapter)]
    return made


async def test_events_are_made_once_for_all(watches: Watches, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many listen, each event is made once; and what all are told is what one by itself is told."""
    made = 0
    event = Story._event

    def counted(story: Story, kind: str, data: object) -> str:
        nonlocal made
        made += 1
        return event(story, kind, data)

    monkeypatch.setattr("api.story.Story._event", counted)
    end = replace(stepped(ENDED, ENDED), record=RunRecord([ENDED, ENDED], state=State.COMPLETED))
    truths = [stepped(PENDING, PENDING), stepped(BEGUN, PENDING), stepped(ENDED, BEGUN), end]
    async with asyncio.timeout(60):
        all_told = await asyncio.gather(*(told(watches, Story(None), *truths) for _ in range(20)))
    alone = Story(None)
    assert all(b"".join(one) == b"".join(all_told[0]) for one in all_told)
    assert b"".join(all_told[0]).decode() == "".join(text for truth in truths for text in alone.tell(truth))
    assert made == 2 * b"".join(all_told[0]).count(b"\nevent: ")


async def test_a_listener_from_elsewhere_is_told_what_it_lacks(watches: Watches) -> None:
    """Somebody who comes back with an id knows other things than the rest, and catches up."""
    story = Story(None)
    story.resume("r.1c-1p", 2)
    end = replace(stepped(ENDED, ENDED), record=RunRecord([ENDED, ENDED], state=State.COMPLETED))
    others = asyncio.create_task(told(watches, Story(None), stepped(ENDED, PENDING), stepped(ENDED, BEGUN), end))
    async with asyncio.timeout(60):
        events = b"".join(await told(watches, story, stepped(ENDED, PENDING), stepped(ENDED, BEGUN), end)).decode()
        await others
    assert [line for line in events.splitlines() if line.startswith("id:")] == ["id: r.1c-1r1", "id: r.2c", "id: c.2c"]


async def test_the_end_is_told_whatever_it_says(watches: Watches) -> None:
    """A run that Temporal has lost ends with steps of which nobody knows how often they were tried."""
    lost = StepRecord(state=State.FAILED)
    end = replace(stepped(lost, lost), record=RunRecord([lost, lost], state=State.FAILED))
    async with asyncio.timeout(60):
        events = b"".join(await told(watches, Story(None), stepped(BEGUN, PENDING), end)).decode()
    assert [line for line in events.splitlines() if line.startswith("id:")][-1] == "id: f.2f"


def test_iterations_are_progress() -> None:
    """A loop that has turned less often was seen before."""
    five, seven = (StepRecord(state=State.RUNNING, iterations=Tally(completed=count)) for count in (5, 7))
    assert Heard(stepped(five)).is_behind(Heard(stepped(seven)))
    assert not Heard(stepped(seven)).is_behind(Heard(stepped(five)))


async def test_nothing_goes_back(watches: Watches) -> None:
    """A reader may have seen the run a moment before the listener's own first read."""
    end = replace(stepped(ENDED, ENDED), record=RunRecord([ENDED, ENDED], state=State.COMPLETED))
    old = stepped(BEGUN, PENDING)
    others = watches.listen(old, reading(old, old, old, stepped(ENDED, PENDING), end))
    async with contextlib.aclosing(others), asyncio.timeout(60):
        await anext(others)
        events = b"".join(await told(watches, Story(None), stepped(ENDED, BEGUN), old)).decode()
    ids = [line for line in events.splitlines() if line.startswith("id:")]
    assert ids == ["id: r.1c-1r1", "id: r.2c", "id: c.2c"]
