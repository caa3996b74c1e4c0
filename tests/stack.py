"""A whole Stanchion for a test, in this process: API over real HTTP, worker, own database, own task queue."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.worker import Worker

from api.app import create_app
from engine.client import connect, connect_patiently
from engine.namespace import prepare_namespace
from settings import Settings
from storage.database import Database
from storage.migrate import migrate
from worker import build_worker

TOKEN = "test-admin-token"
FINAL = {"completed", "failed", "cancelled", "skipped"}


STOP_SECONDS = 120

PATIENCE = 30
"""Seconds for which the helpers here ask again what was answered with 503, as a good client does."""


@dataclass
class Stack:
    """One Stanchion: its settings, an HTTP client with every permission, and a worker that can be stopped."""

    settings: Settings
    temporal: Client
    database: Database
    http: httpx2.AsyncClient
    url: str
    _worker: tuple[Worker, asyncio.Task[None]] | None = field(default=None)

    async def start_worker(self, **options: Any) -> None:
        """Starts a worker, unless one runs."""
        assert self._worker is None
        worker = build_worker(self.temporal, self.database, self.settings, **options)
        self._worker = (worker, asyncio.create_task(worker.run()))

    async def stop_worker(self) -> None:
        """Stops the worker."""
        if self._worker is not None:
            worker, task = self._worker
            self._worker = None
            stopping = asyncio.gather(worker.shutdown(), task)
            # The SDK waits for ever for a workflow that it holds for deadlocked: that is to fail one test only.
            await asyncio.wait({stopping}, timeout=STOP_SECONDS)
            assert stopping.done(), "the worker does not stop"
            await stopping

    async def playbook(self, steps: list[dict[str, Any]], **definition: Any) -> dict[str, Any]:
        """Stores a playbook with these steps."""
        name = definition.pop("name", f"Playbook {uuid.uuid4()}")
        answer = await self.http.post("/api/playbooks", json={"name": name, "steps": steps, **definition})
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    async def asset(self, **fields: Any) -> dict[str, Any]:
        """Stores an asset."""
        body = {"name": "web-01", "type": "host", "tags": {"env": "prod"}, **fields}
        answer = await self.http.post("/api/assets", json=body)
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    async def post_run(self, playbook: str, asset: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """The raw answer to a run."""
        return await self.http.post(
            f"/api/playbooks/{playbook}/run", json={"target_asset_id": asset, **body}, headers=headers
        )

    async def start(self, steps: list[dict[str, Any]], *, run: dict[str, Any] | None = None, **definition: Any) -> str:
        """Stores a playbook and an asset, starts a run, and returns its id."""
        playbook = await self.playbook(steps, **definition)

        async def on_another_asset() -> Any:
            return await self.post_run(playbook["id"], (await self.asset())["id"], **(run or {}))

        answer = await _patiently(on_another_asset)
        assert answer.status_code == 202, answer.text
        execution_id: str = answer.json()["execution_id"]
        return execution_id

    async def status(self, execution_id: str, include: str | None = None) -> dict[str, Any]:
        """The status of an execution."""
        path, params = f"/api/playbooks/executions/{execution_id}", {"include": include} if include else None
        answer = await _patiently(lambda: self.http.get(path, params=params))
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    async def finish(self, execution_id: str, timeout: float = 120, include: str | None = "io") -> dict[str, Any]:
        """The status of an execution once it is final."""
        async with asyncio.timeout(timeout):
            while (await self.status(execution_id))["status"] not in FINAL:
                await asyncio.sleep(0.05)
        return await self.status(execution_id, include)

    async def until_step(self, execution_id: str, index: int, state: str, timeout: float = 120) -> dict[str, Any]:
        """The status of an execution once its step ``index`` is in ``state``."""
        async with asyncio.timeout(timeout):
            while (status := await self.status(execution_id))["steps"][index]["status"] != state:
                await asyncio.sleep(0.02)
        return status

    async def cancel(self, execution_id: str, **body: Any) -> Any:
        """The raw answer to a cancel."""
        return await self.http.post(f"/api/playbooks/executions/{execution_id}/cancel", json=body)


async def _patiently(ask: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """The first answer that is no 503, or the last one: a machine may stall for longer than a request waits."""
    until = time.monotonic() + PATIENCE
    while (answer := await ask()).status_code == 503 and time.monotonic() < until:
        await asyncio.sleep(0.2)
    return answer


def states(status: dict[str, Any]) -> list[str]:
    """The states of the steps, in order."""
    return [step["status"] for step in status["steps"]]


def stack_settings(folder: Path, **changes: Any) -> Settings:
    """Settings for a Stanchion of its own on the session's Temporal server."""
    values: dict[str, Any] = {
        "data_dir": folder,
        "temporal_address": os.environ["STANCHION_TEST_TEMPORAL"],
        "task_queue": f"test-{uuid.uuid4()}",
        "admin_token": SecretStr(TOKEN),
        "egress_allow": "127.0.0.1",
        "drain_seconds": 1.0,
        **changes,
    }
    return Settings(**values)


@contextlib.asynccontextmanager
async def running_stack(settings: Settings, *, worker: bool = True, **options: Any) -> AsyncIterator[Stack]:
    """A Stanchion with ``settings``; ``options`` go to the worker."""
    migrate(settings.database)
    database = Database(settings.database)
    temporal = await connect_patiently(settings, database)
    await prepare_namespace(temporal, settings.temporal_retention_days)
    async with serving(settings) as url:
        http = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        stack = Stack(settings, temporal, database, http, url)
        if worker:
            await stack.start_worker(**options)
        try:
            yield stack
        finally:
            await http.aclose()
            await stack.stop_worker()
            database.close()


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """The API on a free port; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, lifespan="on", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(30):
            while not server.started:
                if task.done():
                    await task
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


__all__ = ["TOKEN", "Stack", "connect", "running_stack", "serving", "stack_settings", "states"]
