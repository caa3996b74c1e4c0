"""The audit trail over HTTP: what was done, what was refused, who may read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.audit import PER_ADDRESS_MINUTE

Minter = Callable[..., Awaitable[dict[str, str]]]


async def trail(app: FastAPI, api: httpx2.AsyncClient, **filters: str) -> list[dict[str, Any]]:
    """The entries, newest first, once those that waited are written."""
    await app.state.services.journal.flush()
    answer = await api.get("/api/audit", params={"per_page": "100", **filters})
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["data"]
    return entries


async def test_what_was_done(app: FastAPI, api: httpx2.AsyncClient, definition: Callable[..., Any]) -> None:
    """Every change is told with its actor, object, address and outcome."""
    await api.post("/api/assets", json={"id": "web", "name": "web", "type": "host"})
    await api.put("/api/assets/web", json={"name": "web", "type": "host"})
    await api.delete("/api/assets/web")
    await api.post("/api/playbooks", json=definition())
    await api.put("/api/playbooks/greet", json=definition())
    await api.delete("/api/playbooks/greet")
    token = (await api.post("/api/tokens", json={"name": "t", "permissions": ["audit:read"]})).json()
    await api.delete(f"/api/tokens/{token['id']}")
    entries = await trail(app, api)
    assert [entry["action"] for entry in reversed(entries)] == [
        "asset.create", "asset.replace", "asset.delete", "playbook.create", "playbook.replace", "playbook.delete",
        "token.create", "token.revoke",
    ]  # fmt: skip
    assert {(entry["actor_id"], entry["outcome"], entry["address"]) for entry in entries} == {
        ("admin", "ok", "192.0.2.7")
    }
    assert entries[-1]["object_id"] == "web"


async def test_no_secret(app: FastAPI, api: httpx2.AsyncClient) -> None:
    """The trail of a new token holds neither the token nor its hash."""
    token = (await api.post("/api/tokens", json={"name": "t", "permissions": ["audit:read"]})).json()["token"]
    assert token[4:] not in str(await trail(app, api))


async def test_refused(app: FastAPI, api: httpx2.AsyncClient) -> None:
    """A change that was refused is told with the code of its error; a read that found nothing is not."""
    await api.delete("/api/assets/nothing")
    await api.get("/api/assets/nothing")
    entries = await trail(app, api)
    assert [(entry["action"], entry["object_id"], entry["outcome"], entry["details"]) for entry in entries] == [
        ("asset.delete", "nothing", "refused", {"code": "not_found"})
    ]


async def test_denied(app: FastAPI, api: httpx2.AsyncClient, mint: Minter) -> None:
    """A request without a good token, and one without the permission, are told as denied."""
    headers = await mint("asset:read")
    await api.delete("/api/assets/web", headers=headers)
    await api.get("/api/assets", headers={"Authorization": "Bearer nonsense"})
    stranger, robot = (await trail(app, api))[:2]
    assert (stranger["actor_id"], stranger["outcome"], stranger["action"]) == ("anonymous", "denied", "asset.list")
    assert (robot["actor_name"], robot["outcome"], robot["action"]) == ("test", "denied", "asset.delete")


async def test_flood(app: FastAPI, api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of bad logins is written up to a bound; the rest is counted in one entry."""
    monkeypatch.setattr("api.audit.time.time", lambda: 1_000_000.0)
    for _ in range(PER_ADDRESS_MINUTE + 15):
        await api.get("/api/assets", headers={"Authorization": "Bearer nonsense"})
    assert len(await trail(app, api)) == PER_ADDRESS_MINUTE
    monkeypatch.setattr("api.audit.time.time", lambda: 1_000_060.0)
    assert (await trail(app, api))[0]["details"] == {"suppressed": 15}


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"action": "asset.create"}, 2),
        ({"object_id": "b"}, 1),
        ({"object_type": "asset", "actor": "admin"}, 2),
        ({"actor": "nobody"}, 0),
        ({"since": "2100-01-01T00:00:00Z"}, 0),
        ({"since": "2001-01-01T00:00:00+02:00"}, 2),
    ],
)
async def test_filters(app: FastAPI, api: httpx2.AsyncClient, filters: dict[str, str], count: int) -> None:
    """The trail can be narrowed to an actor, an action, an object and a time."""
    for asset_id in ("a", "b"):
        await api.post("/api/assets", json={"id": asset_id, "name": "x", "type": "host"})
    assert len(await trail(app, api, **filters)) == count


async def test_bad_since(api: httpx2.AsyncClient) -> None:
    """A time without an offset is 400."""
    assert (await api.get("/api/audit?since=2026-01-01T00:00:00")).status_code == 400
