"""The activity that writes the settled record, as a run's last act."""

from __future__ import annotations

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError

from engine.log_ids import bind_run
from engine.metrics import ExecutionMetrics
from executions.counting import count_ended
from executions.revisions import Revisions
from playbooks.contract import SETTLE_ACTIVITY, Settled, Settlement
from playbooks.progress import decode_step
from storage.clock import now_ms
from storage.database import Database
from storage.errors import DatabaseUnavailable, NotFound
from storage.settlement import ClosedRun, Standing, settle

log = structlog.get_logger("worker")


class Settler:
    """The activity, on one database."""

    def __init__(self, database: Database, revisions: Revisions, metrics: ExecutionMetrics) -> None:
        self._database = database
        self._revisions = revisions
        self._metrics = metrics

    @activity.defn(name=SETTLE_ACTIVITY)
    async def settle(self, settlement: Settlement) -> Settled:
        """Writes the record once; returns the final state that the database holds.

        A database that cannot be reached is an ordinary failure, which the workflow retries until it can be.
        """
        bind_run(settlement.execution_id)
        try:
            standing = await self._database.write(settle, settlement, now_ms())
        except NotFound as error:
            raise ApplicationError(str(error), type="not_found", non_retryable=True) from error
        if standing.closed is not None:
            await self._count(settlement, standing, standing.closed)
        return Settled(state=standing.state.value)

    async def _count(self, settlement: Settlement, standing: Standing, closed: ClosedRun) -> None:
        """The record is written: that it cannot be counted must not fail it."""
        try:
            revision = await self._revisions.get(closed.playbook_id, closed.revision)
        except (DatabaseUnavailable, NotFound) as error:
            log.warning("an execution was not counted in the metrics", reason=str(error))
            return
        count_ended(
            self._metrics,
            revision,
            [decode_step(row) for row in settlement.steps],
            state=standing.state,
            dry_run=closed.dry_run,
            by_workflow=True,
            started_at=settlement.started_at,
            finished_at=settlement.finished_at,
        )
