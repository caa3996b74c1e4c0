"""The worker: runs workflows and actions, and writes settled records.  It holds no state (DESIGN.md §2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import structlog
import uvloop
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.catalogue import load_catalogue
from activities.execute import ActionRunner
from activities.stores import Stores
from engine.artifacts import DatabaseArtifacts
from engine.assets import DatabaseAssets
from engine.client import connect_patiently
from engine.errors import AddressUnusable, TemporalUnreachable
from engine.host_keys import DatabaseHostKeys
from engine.intel import DatabaseIntel
from engine.logging import configure_logging
from engine.metrics import installed_version
from engine.policy_results import DatabasePolicyResults
from engine.processes import leave, leave_within
from engine.records import RecordKeeper
from engine.sdk_metrics import SdkMetrics
from engine.secrets import secret_chain
from engine.tracing import start_tracing, stop_tracing
from engine.worker_metrics import WorkerMetrics
from executions.firing import Firer
from executions.settling import Settler
from executions.starting import Starter
from settings import Settings, settings
from storage.database import Database
from workflows.interpreter import PlaybookWorkflow
from workflows.schedule import ScheduleWorkflow

if TYPE_CHECKING:
    from engine.monitor import Monitor

LAST_CALLS = 5.0
"""Seconds, beside those for running actions, in which a stopping worker's last calls may be answered."""

log = structlog.get_logger("worker")


def build_worker(
    client: Client,
    database: Database,
    config: Settings,
    *,
    runner: WorkflowRunner | None = None,
    max_cached_workflows: int = 1000,
    metrics: WorkerMetrics | None = None,
) -> Worker:
    """A worker for the settings' task queue.

    The interpreter runs outside the SDK's sandbox, which costs a quarter of the throughput; a lint and a test that
    runs it sandboxed keep it deterministic.
    """
    metrics = metrics if metrics is not None else WorkerMetrics()
    starter = Starter.build(database, client, config.task_queue, metrics=metrics.executions)
    records = RecordKeeper(database)
    stores = Stores(
        artifacts=DatabaseArtifacts(database),
        host_keys=DatabaseHostKeys(database),
        intel=DatabaseIntel(database),
        policy_results=DatabasePolicyResults(database),
        assets=DatabaseAssets(database),
    )
    actions = ActionRunner(
        load_catalogue(),
        egress_allow=config.egress_allow,
        secrets=secret_chain(config, database),
        stores=stores,
        metrics=metrics.actions,
    )
    return Worker(
        client,
        task_queue=config.task_queue,
        # What the Web UI shows of a worker.  Left out, the SDK reads all 1,600 modules once more, for a hash of them.
        build_id=f"stanchion-{installed_version()}",
        workflows=[PlaybookWorkflow, ScheduleWorkflow],
        activities=[
            actions.execute,
            Settler(database, starter.revisions, metrics.executions).settle,
            records.open_child,
            records.discard_child,
            records.note_decision,
            Firer(database, starter).fire,
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
    """Runs a worker until SIGTERM or SIGINT, then lets its running actions end.

    Raises ``AddressUnusable`` and ``TemporalUnreachable`` of ``engine.errors``.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        # The SDK waits for its last answers for ever where Temporal is away, and a query for a mute database's.
        leave_within(config.drain_seconds + LAST_CALLS)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    database = Database(config.database)
    metrics = WorkerMetrics()
    try:
        async with _monitored(config, database, metrics) as monitor:
            await _work(config, database, metrics, monitor, stop)
    except (AddressUnusable, TemporalUnreachable):
        leave_within(LAST_CALLS, code=1)
        raise
    finally:
        database.close()


@contextlib.asynccontextmanager
async def _monitored(config: Settings, database: Database, metrics: WorkerMetrics) -> AsyncIterator[Monitor | None]:
    """The worker's own server, where the settings name an address for it."""
    if config.worker_address is None:
        yield None
        return
    from engine.monitor import Monitor

    async with Monitor(config.worker_address, metrics.registry, database).serving() as monitor:
        yield monitor


async def _work(
    config: Settings, database: Database, metrics: WorkerMetrics, monitor: Monitor | None, stop: asyncio.Event
) -> None:
    measured = None
    if monitor is not None:
        measured = SdkMetrics()
        metrics.registry.register(measured)
    client = await _connected(config, database, stop, measured.runtime if measured else None)
    if client is None:
        return
    async with build_worker(client, database, config, metrics=metrics):
        if monitor is not None:
            monitor.client = client
        log.info("worker ready", task_queue=config.task_queue, temporal=config.temporal_address)
        await stop.wait()
        if monitor is not None:
            monitor.stops = True
        log.info("worker stops", drain_seconds=config.drain_seconds)


async def _connected(
    config: Settings, database: Database, stop: asyncio.Event, runtime: Runtime | None
) -> Client | None:
    """A connected client; None when the worker is told to stop before Temporal can be reached."""
    connecting = asyncio.create_task(connect_patiently(config, database, runtime=runtime))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((connecting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        connecting.cancel()
        return None
    return await connecting


def main(arguments: Sequence[str] = ()) -> NoReturn:
    """Entry of ``python -m worker`` and of ``stanchion worker``; ends the process."""
    configure_logging(settings())
    start_tracing("stanchion-worker", os.environ)
    try:
        uvloop.run(run(settings()))
    except (AddressUnusable, TemporalUnreachable) as error:
        print(error, file=sys.stderr)
        leave(1)
    finally:
        stop_tracing()
    leave(0)


if __name__ == "__main__":
    main()
