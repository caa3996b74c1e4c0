"""What a worker tells over HTTP, for monitoring and orchestrators: ``/metrics``, ``/healthz`` and ``/readyz``.

It is served by a thread of its own, so that a worker whose loop stands still is told as such and not as a server that
does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar

import uvicorn
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from engine.errors import AddressUnusable
from engine.probes import Probe, probe_database, probe_temporal
from storage.database import Database

T = TypeVar("T")

LOOP_SECONDS = 5.0
"""Time in which the worker's loop has to take its turn; every action shares it."""

CONNECTIONS = 50


class Monitor:
    """The server of one worker, on ``host:port``.  Raises AddressUnusable.

    Without a ``client`` the worker counts as not connected yet.
    """

    def __init__(self, address: str, registry: CollectorRegistry, database: Database) -> None:
        self._listener = _listen(address)
        self._registry = registry
        self._database = database
        self._loop = asyncio.get_running_loop()
        self.client: Client | None = None
        self.stops = False
        routes = [
            Route("/metrics", self._metrics),
            Route("/healthz", self._live),
            Route("/readyz", self._ready),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, access_log=False, ws="none", limit_concurrency=CONNECTIONS
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), name="monitor", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Monitor]:
        """Serves until the block ends."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.should_exit = True
            await asyncio.to_thread(self._thread.join, 5)
            self._listener.close()

    def _metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _live(self, request: Request) -> Response:
        try:
            await self._on_the_loop(_nothing())
        except TimeoutError:
            return JSONResponse({"status": "stuck", "detail": f"the loop stands still for {LOOP_SECONDS:g} s"}, 503)
        return JSONResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        try:
            probes = await self._on_the_loop(self._probes())
        except TimeoutError:
            probes = {"worker": Probe(False, f"the loop stands still for {LOOP_SECONDS:g} s")}
        ready = all(probe.answers for probe in probes.values())
        states = [
            {"name": name, "state": "ok" if probe.answers else "unavailable", "detail": probe.detail}
            for name, probe in probes.items()
        ]
        body = {"status": "ready" if ready else "not ready", "dependencies": states}
        return JSONResponse(body, 200 if ready else 503)

    async def _probes(self) -> dict[str, Probe]:
        if self.stops:
            return {"worker": Probe(False, "is stopping")}
        database, temporal = await asyncio.gather(probe_database(self._database), _temporal(self.client))
        return {"database": database, "temporal": temporal}

    async def _on_the_loop(self, work: Coroutine[None, None, T]) -> T:
        """What ``work`` gives on the worker's loop; raises TimeoutError where that does not come to it."""
        future = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        return await asyncio.wait_for(future, LOOP_SECONDS)


async def _nothing() -> None:
    """A turn of the loop."""


async def _temporal(client: Client | None) -> Probe:
    return Probe(False, "not connected yet") if client is None else await probe_temporal(client)


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        # What Python adds to the system's words says the address again; a name that is not found has none of them.
        why = os.strerror(number) if number and number > 0 else str(error)
        raise AddressUnusable(f"STANCHION_WORKER_ADDRESS: {address} cannot be listened on: {why}.") from error
