"""The worker: runs workflows and actions, and writes settled records.  It holds no state (DESIGN.md §2)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from datetime import timedelta

import structlog
import uvloop
from structlog.contextvars import bind_contextvars
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.catalogue import load_catalogue
from activities.execute import ActionRunner
from activities.stores import Stores
from engine.artifacts import DatabaseArtifacts
from engine.assets import DatabaseAssets
from engine.client import connect_patiently
from engine.intel import DatabaseIntel
from engine.logging import configure_logging
from engine.policy_results import DatabasePolicyResults
from engine.processes import leave
from engine.records import RecordKeeper
from engine.secrets import secret_chain
from engine.tracing import start_tracing, stop_tracing
from executions.firing import Firer
from executions.starting import Starter
from playbooks.contract import SETTLE_ACTIVITY, Settled, Settlement
from settings import Settings, settings
from storage.clock import now_ms
from storage.database import Database
from storage.errors import NotFound
from storage.host_keys import TrustedHostKeys
from storage.settlement import settle
from workflows.interpreter import PlaybookWorkflow
from workflows.schedule import ScheduleWorkflow

log = structlog.get_logger("worker")


class Settler:
    """The activity that writes the settled record, as a run's last act."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=SETTLE_ACTIVITY)
    async def settle(self, settlement: Settlement) -> Settled:
        """Writes the record once; returns the final state that the database holds.

        A database that cannot be reached is an ordinary failure, which the workflow retries until it can be.
        """
        bind_contextvars(execution_id=settlement.execution_id)
        try:
            return await self._database.write(settle, settlement, now_ms())
        except NotFound as error:
            raise ApplicationError(str(error), type="not_found", non_retryable=True) from error


def build_worker(
    client: Client,
    database: Database,
    config: Settings,
    *,
    runner: WorkflowRunner | None = None,
    max_cached_workflows: int = 1000,
) -> Worker:
    """A worker for the settings' task queue.

    The interpreter runs outside the SDK's sandbox, which costs a quarter of the throughput; a lint and a test that
    runs it sandboxed keep it deterministic.
    """
    records = RecordKeeper(database)
    stores = Stores(
        artifacts=DatabaseArtifacts(database),
        host_keys=TrustedHostKeys(database),
        intel=DatabaseIntel(database),
        policy_results=DatabasePolicyResults(database),
        assets=DatabaseAssets(database),
    )
    actions = ActionRunner(
        load_catalogue(), egress_allow=config.egress_allow, secrets=secret_chain(config, database), stores=stores
    )
    return Worker(
        client,
        task_queue=config.task_queue,
        workflows=[PlaybookWorkflow, ScheduleWorkflow],
        activities=[
            actions.execute,
            Settler(database).settle,
            records.open_child,
            records.discard_child,
            records.note_decision,
            Firer(database, Starter.build(database, client, config.task_queue)).fire,
        ],
        workflow_runner=runner or UnsandboxedWorkflowRunner(),
        max_cached_workflows=max_cached_workflows,
        max_concurrent_activities=config.worker_activities,
        max_concurrent_local_activities=config.worker_activities,
        max_concurrent_workflow_tasks=config.worker_workflow_tasks,
        max_eager_activity_reservations_per_workflow_task=10,
        # The default of 10 s would be added to every recovery after a worker was killed.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        # A cancel reaches a heartbeating action within this, where the server does not push it.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(seconds=config.drain_seconds),
    )


async def run(config: Settings) -> None:
    """Runs a worker until SIGTERM or SIGINT, then lets its running actions end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    database = Database(config.database)
    try:
        client = await _connected(config, database, stop)
        if client is None:
            return
        async with build_worker(client, database, config):
            log.info("worker ready", task_queue=config.task_queue, temporal=config.temporal_address)
            await stop.wait()
            log.info("worker stops", drain_seconds=config.drain_seconds)
    finally:
        database.close()


async def _connected(config: Settings, database: Database, stop: asyncio.Event) -> Client | None:
    """A connected client; None when the worker is told to stop before Temporal can be reached."""
    connecting = asyncio.create_task(connect_patiently(config, database))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        connecting.cancel()
        return None
    return await connecting


def main(arguments: Sequence[str] = ()) -> None:
    """Entry of ``python -m worker`` and of ``stanchion worker``."""
    configure_logging(settings())
    start_tracing("stanchion-worker", os.environ)
    try:
        uvloop.run(run(settings()))
    finally:
        stop_tracing()


if __name__ == "__main__":
    main()
    leave(0)
