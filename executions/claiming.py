"""The one place of a playbook on an asset, claimed by starting its workflow: Temporal lets one be open at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from engine.errors import AlreadyRunning, TemporalUnavailable
from engine.runs import Runs, Start
from storage import executions
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.executions import ExecutionRow

CLOSING_SECONDS = 2.0
"""Time that the workflow of a run that has ended gets to close, before a start in its place is refused."""

CLOSING_POLL = 0.01
LONGEST_CLOSING_POLL = 0.2
"""Seconds between two looks at it, the first and the longest."""


class Taken(Exception):
    """Another run of the playbook on the asset is in the way: its workflow's run id, None where that has closed.

    ``ended``: its end is written down, and only its workflow is yet to close.
    """

    def __init__(self, run_id: str | None, execution_id: str | None, *, ended: bool) -> None:
        super().__init__(execution_id)
        self.run_id = run_id
        self.execution_id = execution_id
        self.ended = ended


class Overtaken(Exception):
    """The same request, which came again, was answered while its start waited: with this row, or by taking it back."""

    def __init__(self, row: ExecutionRow | None) -> None:
        super().__init__(row.id if row else None)
        self.row = row


@dataclass(frozen=True, slots=True)
class Claimer:
    """Starts workflows.  ``waiting``: by workflow id, the execution whose start waits until another run has closed."""

    database: Database
    runs: Runs
    waiting: dict[str, str] = field(default_factory=dict)

    async def claim(self, start: Start) -> str:
        """The run id, once Temporal has started the run; raises Taken where another one goes on, and Overtaken.

        A run is told to have ended a moment before its workflow has closed. Whoever was told so and starts the next one
        at once is not refused for that moment. One execution waits for it in a process: the others could not win. The
        same request that comes again waits too, and is the same run.
        """
        execution_id = start.given.execution_id
        try:
            return await self.runs.start(start)
        except AlreadyRunning as error:
            taken = await self._holder(start.workflow_id, error.run_id)
            if not taken.ended or self.waiting.get(start.workflow_id, execution_id) != execution_id:
                raise taken from error
        self.waiting[start.workflow_id] = execution_id
        try:
            await self._until_closed(start.workflow_id, taken)
            row = await self.database.read(executions.get, execution_id)
            if row is None or row.state is not None:
                raise Overtaken(row)
            return await self.runs.start(start)
        except AlreadyRunning as error:
            raise await self._holder(start.workflow_id, error.run_id) from error
        finally:
            self.waiting.pop(start.workflow_id, None)

    async def _until_closed(self, workflow_id: str, taken: Taken) -> None:
        """Returns when the workflow that is in the way has closed; raises Taken when it takes too long."""
        clock, pause = asyncio.get_running_loop().time, CLOSING_POLL
        deadline = clock() + CLOSING_SECONDS
        while taken.run_id is not None:
            if clock() > deadline:
                raise taken
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_CLOSING_POLL)
            taken = await self._holder(workflow_id, taken.run_id)

    async def _holder(self, workflow_id: str, run_id: str) -> Taken:
        """What is in the way of a start."""
        try:
            found = await self.runs.describe(workflow_id, run_id)
        except TemporalUnavailable:
            return Taken(run_id, None, ended=False)
        if found is None or found.closed:
            return Taken(None, found.execution_id if found else None, ended=True)
        try:
            row = await self.database.read(executions.get, found.execution_id) if found.execution_id else None
        except DatabaseUnavailable:
            row = None
        return Taken(run_id, found.execution_id, ended=row is not None and row.closed_at is not None)
