"""Executions as one service: start, read, list, cancel, listen, compare, sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection
from temporalio.client import Client

from api.answers import ClosedAnswers
from api.events import Watches
from engine.metrics import ExecutionMetrics
from engine.runs import Runs
from executions.admission import Admission
from executions.cancelling import Canceller
from executions.combining import Combined
from executions.deciding import Decider
from executions.errors import NotFound
from executions.starting import Starter
from executions.truth import Reader, Truth, Unsettled
from playbooks.contract import IO_QUERY, ITERATIONS_QUERY
from playbooks.record import Json
from playbooks.states import State
from settings import Settings
from storage import executions
from storage.database import Database
from storage.executions import ExecutionRow, ExecutionSummary
from storage.limits import Limits, seen_executions

DESCRIBES_AT_ONCE = 20
"""Open runs that one request asks Temporal for at the same time."""

OPEN_STATES = frozenset({State.PENDING, State.RUNNING})
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list: its row, and its state and start as they are now."""

    row: ExecutionSummary
    state: State
    started_at: int | None
    finished_at: int | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to."""

    playbook_id: str | None = None
    asset_id: str | None = None
    state: State | None = None
    dry_run: bool | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Executions:
    """What the routes do with executions.  Raises DatabaseUnavailable and TemporalUnavailable."""

    database: Database
    runs: Runs
    reader: Reader
    starter: Starter
    canceller: Canceller
    decider: Decider
    ui_url: str | None
    watches: Watches = field(default_factory=Watches)
    closed: ClosedAnswers = field(default_factory=ClosedAnswers)
    reading: Combined[Truth] = field(default_factory=Combined)

    @classmethod
    def build(
        cls, settings: Settings, database: Database, temporal: Client, metrics: ExecutionMetrics | None = None
    ) -> Executions:
        """The service on these connections."""
        admission = Admission(in_line=settings.starts_in_line)
        starter = Starter.build(database, temporal, settings.task_queue, admission, metrics)
        runs, reader = starter.runs, starter.reader
        return cls(
            database=database,
            runs=runs,
            reader=reader,
            starter=starter,
            decider=Decider(runs, reader),
            canceller=Canceller(database, runs, reader),
            ui_url=ui_base(settings),
            watches=Watches(ui_base(settings)),
        )

    async def row(self, execution_id: str) -> ExecutionRow:
        """The row of an execution; raises NotFound."""
        row = await self.database.read(executions.get, execution_id)
        if row is None:
            raise NotFound(f"There is no execution {execution_id!r}.")
        return row

    async def read(self, execution_id: str) -> Truth:
        """The truth about an execution; raises NotFound.  However many ask at once, it is read for all of them."""
        return await self.reading.read(execution_id, lambda: self._read(execution_id))

    async def _read(self, execution_id: str) -> Truth:
        try:
            return await self.reader.read(await self.row(execution_id))
        except Unsettled as error:
            raise NotFound(f"There is no execution {execution_id!r}.") from error

    async def io(self, truth: Truth) -> dict[str, Json] | None:
        """Inputs and outputs by step id; None while they can be had from nobody."""
        return await self._told(truth, executions.get_io, IO_QUERY)

    async def iterations(self, truth: Truth) -> dict[str, Json] | None:
        """Each iteration of each loop, by the id of the loop; None while they can be had from nobody."""
        return await self._told(truth, executions.get_iterations, ITERATIONS_QUERY)

    async def _told(
        self, truth: Truth, read: Callable[[Connection, str], dict[str, Json]], query: str
    ) -> dict[str, Json] | None:
        """What the database holds of a run that has closed, and the run itself knows while it is open."""
        row = truth.row
        if row.state is not None and row.closed_at is not None:
            return await self.database.read(read, row.id)
        if truth.run_id is None and row.state is None:
            return {}
        run_id = truth.run_id or await self._run_id(row)
        return await self.runs.query(row.workflow_id, run_id, query) if run_id else {}

    async def _run_id(self, row: ExecutionRow) -> str | None:
        found = await self.runs.describe_execution(row.workflow_id, row.id)
        return found.run_id if found else None

    async def page(self, wanted: Filter, page: int, per_page: int) -> tuple[list[Listed], int]:
        """One page of executions, newest first, and how many there are.

        Whether an open run is pending or running, only Temporal knows: a list of just one of them asks for all open
        ones.
        """
        if wanted.state in OPEN_STATES:
            rows, _ = await self._rows(wanted, OPEN_STATES, 1, _ALL)
            found = [entry for entry in await self._listed(rows) if entry.state is wanted.state]
            return found[(page - 1) * per_page : page * per_page], len(found)
        states = None if wanted.state is None else frozenset({wanted.state})
        rows, total = await self._rows(wanted, states, page, per_page)
        return await self._listed(rows), total

    async def _rows(
        self, wanted: Filter, states: Collection[State] | None, page: int, per_page: int
    ) -> tuple[list[ExecutionSummary], int]:
        return await self.database.read(
            executions.list_executions,
            playbook_id=wanted.playbook_id,
            asset_id=wanted.asset_id,
            states=states,
            dry_run=wanted.dry_run,
            page=page,
            per_page=per_page,
            seen=None if wanted.limits is None else seen_executions(wanted.limits),
        )

    async def _listed(self, rows: Sequence[ExecutionSummary]) -> list[Listed]:
        slots = asyncio.Semaphore(DESCRIBES_AT_ONCE)

        async def entry(row: ExecutionSummary) -> Listed | None:
            if row.state is not None:
                return Listed(row, row.state, row.started_at, row.finished_at)
            async with slots:
                return await self._open_entry(row)

        found = await asyncio.gather(*(entry(row) for row in rows))
        return [one for one in found if one is not None]

    async def _open_entry(self, row: ExecutionSummary) -> Listed | None:
        try:
            truth = await self.read(row.id)
        except NotFound:
            return None
        record = truth.record
        return Listed(truth.row, record.state, record.started_at, record.finished_at)


def ui_base(settings: Settings) -> str | None:
    """The Web UI's address for our namespace, or None where it has none."""
    if settings.temporal_ui_url is None:
        return None
    return f"{settings.temporal_ui_url.rstrip('/')}/namespaces/{settings.temporal_namespace}"
