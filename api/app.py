"""The application: its services, its routes, and what stands around them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute

from activities.catalogue import load_catalogue
from api import docs, handlers
from api.audit import Journal
from api.console.app import add_console
from api.cors import Origins, codec_origins, origins
from api.executions import Executions
from api.limits import Limiter
from api.metrics import Metrics
from api.openapi import DESCRIPTION, build_openapi
from api.phantom.app import phantom
from api.phantom.auth import Gate
from api.retention import Retention
from api.routes import (
    actions,
    approvals,
    artifacts,
    assets,
    audit,
    codec,
    executions,
    health,
    hooks,
    host_keys,
    playbooks,
    schedules,
    schemas,
    secrets,
    tokens,
    users,
)
from api.services import Services
from api.shell import Shell
from api.sweep import keep_for_ever, sweep_for_ever
from api.tokens import TokenCache
from engine.client import API_RETRY, connect
from engine.logging import configure_logging
from engine.metrics import installed_version
from engine.schedules import Schedules
from engine.sealing import Sealer
from engine.tracing import start_tracing, stop_tracing
from executions.receiving import Receiver
from executions.timetables import Timetables
from settings import Settings
from settings import settings as process_settings
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.migrate import migrate

MIGRATION_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API with ``settings``; without them as the application of this process, which also sets up its logs."""
    of_process = settings is None
    if settings is None:
        settings = process_settings()
        configure_logging(settings)
        start_tracing("stanchion-api", os.environ)
    metrics = Metrics()
    limiter = Limiter(settings.rate_limit) if settings.rate_limit else None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, limiter, metrics) as services:
            app.state.services = services
            yield
        if of_process:
            await asyncio.to_thread(stop_tracing)

    app = FastAPI(
        title="Stanchion",
        version=installed_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.metrics = metrics
    _add_routes(app)
    add_console(app)
    app.add_middleware(Origins, allowed=origins(settings), codec=codec_origins(settings))
    app.add_middleware(Shell, metrics=metrics, limiter=limiter, hsts_seconds=settings.hsts_seconds)
    handlers.install(app)
    _serve_openapi(app)
    return app


def _add_routes(app: FastAPI) -> None:
    """Add the routes of every module in one flat list.

    ``include_router`` would look for a route router by router, which takes a third of a short request's time.
    Executions come first, so that no other route can take ``/api/playbooks/executions`` for a playbook.
    """
    app.router.routes.append(phantom())
    of_playbooks = (executions, artifacts, approvals, playbooks, schedules, hooks)
    for module in (
        *of_playbooks,
        actions,
        assets,
        host_keys,
        secrets,
        tokens,
        users,
        audit,
        codec,
        schemas,
        health,
        docs,
    ):
        for route in module.router.routes:
            if isinstance(route, APIRoute):
                route.operation_id = route.name.replace(".", "_")
            app.router.routes.append(route)


def _serve_openapi(app: FastAPI) -> None:
    def document() -> dict[str, object]:
        if app.openapi_schema is None:
            app.openapi_schema = build_openapi(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


@contextlib.asynccontextmanager
async def _running(settings: Settings, limiter: Limiter | None, metrics: Metrics) -> AsyncIterator[Services]:
    """The services while the application runs, with the tasks that belong to them."""
    database = Database(settings.database)
    temporal = await connect(settings, database, lazy=True, retry=API_RETRY)
    service = Executions.build(settings, database, temporal, metrics.executions)
    actions = load_catalogue()
    services = Services(
        settings=settings,
        database=database,
        temporal=temporal,
        catalogue=actions.specs(),
        left_out=actions.left_out,
        tokens=TokenCache(settings, database),
        limiter=limiter,
        journal=Journal(database),
        executions=service,
        receiver=Receiver(database, service.starter, Sealer.of(settings)),
        phantom=Gate(settings, database),
        timetables=Timetables(database, Schedules(temporal, settings.task_queue)),
    )
    tasks = [
        asyncio.create_task(services.journal.run()),
        asyncio.create_task(
            sweep_for_ever(
                services.executions,
                settings.sweep_interval,
                Retention(service, settings, Sealer.of(settings), metrics),
                metrics,
            )
        ),
        asyncio.create_task(keep_for_ever(services.timetables, settings.sweep_interval)),
    ]
    if not await _migrated(settings):
        tasks.append(asyncio.create_task(_migrate_later(settings)))
    try:
        yield services
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await services.executions.watches.close()
        database.close()


async def _migrated(settings: Settings) -> bool:
    """Bring the database to this version's schema; False while it is away.

    Safe with several processes at once, since a migration holds a lock.  A database of a newer version stops the
    application here.
    """
    try:
        await asyncio.to_thread(migrate, settings.database)
    except DatabaseUnavailable as error:
        log.warning("the database is away; its schema is checked as soon as it is back", reason=error.detail)
        return False
    return True


async def _migrate_later(settings: Settings) -> None:
    migrated = False
    while not migrated:
        await asyncio.sleep(MIGRATION_RETRY_SECONDS)
        try:
            migrated = await _migrated(settings)
        except Exception:
            log.exception("the schema of the database cannot be checked")
