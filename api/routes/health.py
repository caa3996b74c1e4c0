"""For load balancers and monitoring: alive, ready, metrics.  No token is asked for, and no secret is told."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Literal

from fastapi import APIRouter, Request
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response
from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError

from api.errors import shaped
from api.models import Answer, DependencyState, ErrorAnswer
from api.services import Services, ServicesDep
from engine.probes import PROBE_SECONDS, Probe, probe_database, probe_temporal, reason
from executions.errors import Detail

POLL_SECONDS = 70.0
"""Silence after which a worker counts as gone; a poll lasts a minute at most."""

router = APIRouter(tags=["health"])


class Health(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """Runs can be accepted; each dependency with its state."""

    status: Literal["ready"]
    dependencies: list[DependencyState]


@router.get("/healthz", name="health.live")
async def live() -> Health:
    """Say that the process is alive, whatever it depends on."""
    return Health(status="ok")


@router.get(
    "/readyz",
    name="health.ready",
    response_model=Readiness,
    responses={503: {"model": ErrorAnswer, "description": "The database or Temporal is away."}},
)
async def ready(services: ServicesDep) -> Readiness | Response:
    """Say whether runs can be accepted, naming each dependency and its state.

    Without a worker the service is ready still: a run is accepted and waits as `pending`.
    """
    database, temporal, workers = await asyncio.gather(
        probe_database(services.database), probe_temporal(services.temporal), _workers(services)
    )
    dependencies = [_state("database", database), _state("temporal", temporal), workers]
    away = [dependency for dependency in dependencies if dependency.state == "unavailable"]
    if not any(dependency.name in ("database", "temporal") for dependency in away):
        return Readiness(status="ready", dependencies=dependencies)
    return shaped(
        503,
        "unavailable",
        f"Not ready: {' and '.join(dependency.name for dependency in away)} cannot be reached.",
        [Detail("", f"{dependency.name}: {dependency.detail}") for dependency in away],
        headers={"Retry-After": "2"},
        extra={"dependencies": [dependency.model_dump() for dependency in dependencies]},
    )


@router.get(
    "/metrics",
    name="health.metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus' text."}},
)
async def metrics(request: Request) -> Response:
    """Read the metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _state(name: Literal["database", "temporal"], probe: Probe) -> DependencyState:
    return DependencyState(name=name, state="ok" if probe.answers else "unavailable", detail=probe.detail)


async def _workers(services: Services) -> DependencyState:
    try:
        count = await asyncio.wait_for(_count_workers(services.temporal, services.settings.task_queue), PROBE_SECONDS)
    except (RPCError, RuntimeError, TimeoutError) as error:
        return DependencyState(name="workers", state="unavailable", detail=reason(error))
    return DependencyState(name="workers", state="ok" if count else "none", detail=f"{count} at work")


async def _count_workers(client: Client, task_queue: str) -> int:
    """Workers that polled lately and have not said that they stop.

    Temporal remembers who polled for five minutes, so a worker that stopped is still among them; the list of workers
    knows of a stop at once, but of a start only after the first heartbeat, a minute later.  Each mends the other.
    """
    service, timeout = client.workflow_service, timedelta(seconds=PROBE_SECONDS)
    queue = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    listing = ListWorkersRequest(namespace=client.namespace, query=f"TaskQueue='{task_queue}'", page_size=100)
    described, listed = await asyncio.gather(
        service.describe_task_queue(queue, timeout=timeout), service.list_workers(listing, timeout=timeout)
    )
    stopped: dict[str, float] = {}
    for worker in listed.workers_info:
        heartbeat = worker.worker_heartbeat
        if heartbeat.status == WorkerStatus.WORKER_STATUS_SHUTTING_DOWN:
            at = _seconds(heartbeat.heartbeat_time)
            stopped[heartbeat.worker_identity] = max(at, stopped.get(heartbeat.worker_identity, 0.0))
    oldest = time.time() - POLL_SECONDS
    # A worker in a container may come back under the identity of the one before: what polls after the stop is new.
    polling = {
        poller.identity
        for poller in described.pollers
        if _seconds(poller.last_access_time) > max(oldest, stopped.get(poller.identity, 0.0))
    }
    return len(polling)


def _seconds(moment: Timestamp) -> float:
    return float(moment.seconds) + moment.nanos / 1e9
