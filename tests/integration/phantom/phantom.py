"""A client of the Phantom interface for tests, with user and password."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.stack import Stack

USER, PASSWORD, PHANTOM_TOKEN = "admin", "changeme", "a+phantom/token="


@dataclass
class Phantom:
    """The interface of ``stack``, as a client sees it."""

    stack: Stack
    http: httpx2.AsyncClient

    @classmethod
    @contextlib.asynccontextmanager
    async def on(cls, stack: Stack) -> AsyncIterator[Phantom]:
        """A client of this Stanchion."""
        async with httpx2.AsyncClient(base_url=stack.url, auth=(USER, PASSWORD), timeout=30) as http:
            yield cls(stack, http)

    async def get(self, path: str, **params: Any) -> Any:
        """The JSON of ``GET /rest/<path>``, which must succeed."""
        answer = await self.http.get(f"/rest/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: Any) -> Any:
        """The JSON of ``POST /rest/<path>``, which must succeed."""
        answer = await self.http.post(f"/rest/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def fails(self, method: str, path: str, status: int, body: Any = None, **params: Any) -> dict[str, Any]:
        """The JSON of an error."""
        content = None if body is None else json.dumps(body)
        answer = await self.http.request(method, f"/rest/{path}", content=content, params=params)
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        assert told["failed"] is True
        assert isinstance(told["message"], str)
        return told

    async def container(self, **fields: Any) -> int:
        """A container."""
        made = await self.post("container", {"name": "An incident", "label": "events", **fields})
        number: int = made["id"]
        return number

    async def artifact(self, container: int, **fields: Any) -> int:
        """An artifact."""
        made = await self.post("artifact", {"container_id": container, "name": "an address", **fields})
        number: int = made["id"]
        return number

    async def run(self, playbook: Any, container: int, **fields: Any) -> int:
        """Starts a run; its number."""
        body = {"container_id": container, "playbook_id": playbook, "run": True, **fields}
        made = await self.post("playbook_run", body)
        assert made["received"] is True
        assert isinstance(made["playbook_run_id"], str)
        return int(made["playbook_run_id"])

    async def ended(self, run: int, timeout: float = 120) -> dict[str, Any]:
        """A run, once it runs no more."""
        async with asyncio.timeout(timeout):
            while (found := await self.get(f"playbook_run/{run}"))["status"] == "running":
                await asyncio.sleep(0.05)
        ended: dict[str, Any] = found
        return ended
