"""The application on a real SQLite database, spoken to over ASGI; Temporal is not needed here and not reachable."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from settings import Settings
from storage.migrate import migrate

ADMIN_TOKEN = "an-admin-token-for-tests"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}

Minter = Callable[..., Awaitable[dict[str, str]]]


class MakeApi:
    """Starts applications on one database; the keywords are settings that differ from the usual."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.apps: list[FastAPI] = []

    async def __call__(self, **changes: Any) -> httpx2.AsyncClient:
        """A client without a token, of an application that was just started."""
        values: dict[str, Any] = {
            "data_dir": self.folder,
            "database_url": None,
            "admin_token": SecretStr(ADMIN_TOKEN),
            "temporal_address": "127.0.0.1:1",
            **changes,
        }
        app = create_app(Settings(**values))
        await self.stack.enter_async_context(app.router.lifespan_context(app))
        self.apps.append(app)
        transport = httpx2.ASGITransport(app=app, client=("192.0.2.7", 1234))
        client = httpx2.AsyncClient(transport=transport, base_url="http://testserver")
        return await self.stack.enter_async_context(client)


@pytest.fixture(autouse=True, scope="session")
def _terse_logs() -> Iterator[None]:
    """One line a record: structlog's pictures of a traceback take seconds to draw."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows, made by the migrations."""
    path = tmp_path_factory.mktemp("template") / "stanchion.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
async def make_api(tmp_path: Path, empty_database: Path) -> AsyncIterator[MakeApi]:
    """Starts applications that share a database."""
    shutil.copy(empty_database, tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        yield MakeApi(tmp_path, stack)


@pytest.fixture
async def anonymous(make_api: MakeApi) -> httpx2.AsyncClient:
    """A client without a token."""
    return await make_api()


@pytest.fixture
def app(make_api: MakeApi, anonymous: httpx2.AsyncClient) -> FastAPI:
    """The application behind ``anonymous`` and ``api``."""
    return make_api.apps[0]


@pytest.fixture
async def api(anonymous: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A client with the admin token."""
    anonymous.headers.update(ADMIN)
    return anonymous


@pytest.fixture
def mint(anonymous: httpx2.AsyncClient) -> Minter:
    """Makes a token with the given permissions; answers with the headers that carry it."""

    async def make(*permissions: str) -> dict[str, str]:
        body = {"name": "test", "permissions": list(permissions)}
        answer = await anonymous.post("/api/tokens", json=body, headers=ADMIN)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Bearer {answer.json()['token']}"}

    return make


@pytest.fixture
def definition() -> Callable[..., dict[str, Any]]:
    """Makes the definition of a playbook with one step, which says what it was given."""

    def make(name: str = "Greet", **changes: Any) -> dict[str, Any]:
        steps = [{"name": "Say it", "action_ref": "core.echo", "parameters": {"text": "{{ parameters.text }}"}}]
        schema = {"type": "object", "properties": {"text": {"type": "string", "default": "hello"}}}
        return {"name": name, "parameters": schema, "steps": steps, **changes}

    return make
