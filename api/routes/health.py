"""For load balancers and monitoring: alive, ready, metrics.  No token is asked for, and no secret is told."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError

from api.errors import Detail, shaped
from api.models import Answer, ErrorAnswer
from api.services import Services, ServicesDep
from storage.errors import DatabaseUnavailable

PROBE_SECONDS = 1.0
"""Time that a dependency has to answer."""

HEARTBEAT_SECONDS = 90.0
"""Silence after which a worker counts as gone; the SDK tells of itself once a minute."""

router = APIRouter(tags=["health"])


class Health(Answer):
    """The process answers."""

    status: Literal["ok"]


class DependencyState(Answer):
    """One dependency.  ``none`` is a state of the workers only: runs are accepted and wait."""

    name: Literal["database", "temporal", "workers"]
    state: Literal["ok", "unavailable", "none"]
    detail: str


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
    dependencies = list(await asyncio.gather(_database(services), _temporal(services.temporal), _workers(services)))
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


async def _database(services: Services) -> DependencyState:
    try:
        await asyncio.wait_for(services.database.ping(), PROBE_SECONDS)
    except DatabaseUnavailable as error:
        return DependencyState(name="database", state="unavailable", detail=error.detail)
    except TimeoutError:
        return DependencyState(name="database", state="unavailable", detail="no answer in time")
    return DependencyState(name="database", state="ok", detail="answers")


async def _temporal(client: Client) -> DependencyState:
    try:
        healthy = await asyncio.wait_for(
            client.service_client.check_health(timeout=timedelta(seconds=PROBE_SECONDS)), PROBE_SECONDS
        )
    except (RPCError, RuntimeError, TimeoutError) as error:
        return DependencyState(name="temporal", state="unavailable", detail=_reason(error))
    if not healthy:
        return DependencyState(name="temporal", state="unavailable", detail="says that it is not serving")
    return DependencyState(name="temporal", state="ok", detail="answers")


async def _workers(services: Services) -> DependencyState:
    request = ListWorkersRequest(
        namespace=services.temporal.namespace, query=f"TaskQueue='{services.settings.task_queue}'", page_size=100
    )
    try:
        found = await asyncio.wait_for(
            services.temporal.workflow_service.list_workers(request, timeout=timedelta(seconds=PROBE_SECONDS)),
            PROBE_SECONDS,
        )
    except (RPCError, RuntimeError, TimeoutError) as error:
        return DependencyState(name="workers", state="unavailable", detail=_reason(error))
    count = sum(_is_alive(worker.worker_heartbeat) for worker in found.workers_info)
    return DependencyState(name="workers", state="ok" if count else "none", detail=f"{count} at work")


def _is_alive(heartbeat: WorkerHeartbeat) -> bool:
    """Temporal lists workers for minutes after their end: one counts that is not stopping, and was heard of."""
    silent = time.time() - heartbeat.heartbeat_time.seconds
    return heartbeat.status != WorkerStatus.WORKER_STATUS_SHUTTING_DOWN and silent <= HEARTBEAT_SECONDS


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error).splitlines()[0][:200]
