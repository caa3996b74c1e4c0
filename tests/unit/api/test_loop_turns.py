"""Long work for one listener leaves everybody else their turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from api.events import Watches
from api.routes.executions import _stream
from api.story import Story
from executions.truth import Truth
from playbooks.record import RunRecord, StepRecord
from playbooks.states import State

STEPS = 600


@dataclass
class Service:
    """As much of the service as a stream asks for."""

    watches: Watches
    end: Truth

    async def read(self, execution_id: str) -> Truth:
        """The execution, completed."""
        return self.end


def truth(steps: list[StepRecord], state: State) -> Truth:
    """An execution with these steps."""
    row: Any = type("Row", (), {"id": "exec-1", "parameters": {}})()
    names = [
        type("Name", (), {"id": f"act-{n}", "name": "n", "type": "action", "action": "core.echo", "parent": None})()
        for n in range(len(steps))
    ]
    revision: Any = type("Revision", (), {"steps": names, "secret_parameters": ()})()
    return Truth(row, revision, RunRecord(steps, state=state), "run-1")


async def test_a_long_story_is_told_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the events of a run that has gone far at once, other tasks have gone on."""
    monkeypatch.setattr("api.events.POLL", 0.01)
    monkeypatch.setattr("api.story.Story._execution", lambda self, truth: self._event("execution", {}))
    first = truth([StepRecord() for _ in range(STEPS)], State.RUNNING)
    ended = [StepRecord(state=State.COMPLETED, started_at=n, finished_at=n + 1, attempt=1) for n in range(STEPS)]
    service: Any = Service(Watches(), replace(first, record=RunRecord(ended, state=State.COMPLETED)))
    turns, marks, told = 0, [], b""

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    async with asyncio.timeout(60):
        async for piece in _stream(service, first, Story(None)):
            told += piece
            marks.append(turns)
    task.cancel()
    assert told.count(b"\nevent: ") == 2 * STEPS + 2
    assert marks[-1] - marks[0] > 10
