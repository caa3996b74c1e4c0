"""The one reader behind all listeners of an execution: what becomes of them while Temporal or the database is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from api.events import Read, Watches
from engine.errors import TemporalUnavailable
from executions.truth import Truth
from playbooks.record import RunRecord
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
    made = Watches()
    yield made
    await made.close()


@pytest.mark.parametrize("away", AWAY)
async def test_a_listener_outlives_an_outage(watches: Watches, away: Exception) -> None:
    """What is away comes back, and the listener is told the rest without having to come again."""
    async with asyncio.timeout(60):
        heard = [one async for one in watches.listen(RUNNING, reading(RUNNING, away, away, DONE)) if one]
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
            heard = [one async for one in watches.listen(RUNNING, reading(DONE)) if one]
        assert heard == [RUNNING, DONE]
    assert watches._watches == {}


async def test_a_stream_does_not_outlive_its_token_for_ever(watches: Watches, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour it ends though the run goes on: who comes again is asked for a good token again."""
    monkeypatch.setattr("api.events.LONGEST", 0.0)
    async with asyncio.timeout(60):
        heard = [one async for one in watches.listen(RUNNING, reading(RUNNING))]
    assert heard == [RUNNING]
    assert watches._watches == {}
