"""The sweep: settles runs that were closed behind our back, and ends what must not run.

Reading a run settles it too; the sweep is for those that nobody reads.  Several API processes may sweep at once, since
every write is write-once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

from api.executions import Executions
from api.metrics import Metrics
from api.retention import Retention
from engine.errors import TemporalUnavailable
from executions.timetables import Timetables
from executions.truth import START_WINDOW_MS, Unsettled
from playbooks.states import State
from storage import executions
from storage.clock import now_ms
from storage.errors import DatabaseUnavailable
from storage.executions import ExecutionSummary

PAGE = 200
YOUNG_MS = 5_000
"""Runs younger than this are left alone: they are most often just being started."""

FORGET_SECONDS = 3600

SCHEDULES_SECONDS = 15.0
"""Schedules are looked at no more often than this."""

log = structlog.get_logger("api.sweep")


async def sweep_for_ever(service: Executions, interval: float, retention: Retention, metrics: Metrics) -> None:
    """Sweeps every ``interval`` seconds, and every hour deletes what is old.

    What cannot be reached is tried again the next time; neither of the two waits for the other.
    """
    loop = asyncio.get_running_loop()
    forgotten = loop.time() - FORGET_SECONDS
    while True:
        await asyncio.sleep(interval)
        await _try("sweep", _sweep_and_tell(service, metrics))
        if loop.time() - forgotten >= FORGET_SECONDS and await _try("retention", retention.apply()):
            forgotten = loop.time()


async def _sweep_and_tell(service: Executions, metrics: Metrics) -> None:
    metrics.open.set(await sweep(service))
    metrics.swept_at.set(now_ms() / 1000)


async def keep_for_ever(timetables: Timetables, interval: float) -> None:
    """Keeps the schedules in Temporal as the playbooks say, and tells what they have missed; see ``executions``."""
    while True:
        await asyncio.sleep(max(interval, SCHEDULES_SECONDS))
        await _try("schedules", timetables.keep())
        await _try("missed schedules", timetables.tell_missed())


async def _try(task: str, work: Awaitable[object]) -> bool:
    """Whether ``work`` was done; why it was not stands in the log."""
    try:
        await work
    except (DatabaseUnavailable, TemporalUnavailable) as error:
        log.warning(f"{task} put off", reason=str(error))
        return False
    except Exception:
        log.exception(f"{task} failed")
        return False
    return True


async def sweep(service: Executions) -> int:
    """Looks once at every execution that has not closed; returns how many it looked at.

    One that cannot be looked at, for a fault of its own, keeps none of the others from being settled.
    """
    seen, after = 0, 0
    while True:
        rows = await service.database.read(executions.open_executions, now_ms() - YOUNG_MS, PAGE, after)
        for row in rows:
            try:
                await _look(service, row)
            except (DatabaseUnavailable, TemporalUnavailable):
                raise
            except Exception:
                log.exception("an execution cannot be settled", execution_id=row.id)
        seen += len(rows)
        if len(rows) < PAGE:
            return seen
        after = rows[-1].number


async def _look(service: Executions, summary: ExecutionSummary) -> None:
    row = await service.database.read(executions.get, summary.id)
    if row is None or row.closed_at is not None:
        return
    try:
        if row.state is None:
            await service.reader.read(row)
            return
        found = await service.runs.describe_execution(row.workflow_id, row.id)
        if found is None and now_ms() - row.created_at < START_WINDOW_MS:
            return
        if found is None or found.closed:
            await service.reader.close_frozen(row, found)
        elif row.state is State.CANCELLED and not found.cancel_requested:
            # A start that was taken back, or a cancel whose request was lost with its process.
            await service.runs.cancel(row.workflow_id, found.first_run_id, row.cancel_reason or "cancelled")
    except Unsettled:
        return
