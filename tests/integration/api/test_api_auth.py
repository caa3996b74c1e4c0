"""Who may do what: tokens, permissions, and the order of the checks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

Minter = Callable[..., Awaitable[dict[str, str]]]
MakeApi = Callable[..., Awaitable[httpx2.AsyncClient]]

ADMIN = {"Authorization": "Bearer an-admin-token-for-tests"}
WELL_FORMED = "stn_" + "a" * 43


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer two words"},
        {"Authorization": "Basic YWRtaW46Y2hhbmdlbWU="},
        {"Authorization": "an-admin-token-for-tests"},
        {"Authorization": f"Bearer {WELL_FORMED}"},
        {"Authorization": "Bearer nonsense"},
        {"X-API-Key": ""},
        {"X-API-Key": WELL_FORMED},
        {**ADMIN, "X-API-Key": WELL_FORMED},
    ],
)
async def test_unauthorized(anonymous: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    """No token, a malformed, an unknown and a contradicted one are 401 with a challenge."""
    answer = await anonymous.get("/api/assets", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "unauthorized"


@pytest.mark.parametrize(
    "headers",
    [
        ADMIN,
        {"Authorization": "bearer an-admin-token-for-tests"},
        {"Authorization": "BEARER   an-admin-token-for-tests"},
        {"X-API-Key": "an-admin-token-for-tests"},
        {**ADMIN, "X-API-Key": "an-admin-token-for-tests"},
    ],
)
async def test_admin_token(anonymous: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    """The token of the environment is taken in either header, the scheme in any case."""
    assert (await anonymous.get("/api/assets", headers=headers)).status_code == 200


async def test_minted_token(anonymous: httpx2.AsyncClient, mint: Minter) -> None:
    """A token that was minted may do what it was minted for."""
    assert (await anonymous.get("/api/assets", headers=await mint("asset:read"))).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("POST", "/api/playbooks", "playbook:write"),
        ("POST", "/api/playbooks/validate", "playbook:write"),
        ("GET", "/api/playbooks", "playbook:read"),
        ("GET", "/api/playbooks/x", "playbook:read"),
        ("PUT", "/api/playbooks/x", "playbook:write"),
        ("DELETE", "/api/playbooks/x", "playbook:write"),
        ("GET", "/api/playbooks/x/revisions", "playbook:read"),
        ("GET", "/api/playbooks/x/revisions/1", "playbook:read"),
        ("GET", "/api/actions", "playbook:read"),
        ("GET", "/api/actions/core.echo", "playbook:read"),
        ("GET", "/api/schemas/playbook.json", "playbook:read"),
        ("POST", "/api/assets", "asset:write"),
        ("GET", "/api/assets", "asset:read"),
        ("GET", "/api/assets/x", "asset:read"),
        ("PUT", "/api/assets/x", "asset:write"),
        ("DELETE", "/api/assets/x", "asset:write"),
        ("POST", "/api/host-keys", "host:write"),
        ("GET", "/api/host-keys", "host:read"),
        ("DELETE", "/api/host-keys/x", "host:write"),
        ("PUT", "/api/secrets/x", "secret:write"),
        ("GET", "/api/secrets", "secret:write"),
        ("DELETE", "/api/secrets/x", "secret:write"),
        ("POST", "/api/tokens", "token:admin"),
        ("GET", "/api/tokens", "token:admin"),
        ("DELETE", "/api/tokens/x", "token:admin"),
        ("GET", "/api/audit", "audit:read"),
    ],
)
async def test_permission(anonymous: httpx2.AsyncClient, mint: Minter, method: str, path: str, permission: str) -> None:
    """A token with every permission but the route's is 403, named; and 403 comes before any look at the body."""
    others = {
        "playbook:read", "playbook:write", "playbook:execute", "asset:read", "asset:write", "token:admin", "audit:read",
        "host:read", "host:write", "secret:write",
    } - {permission}  # fmt: skip
    content = b"\xff" if method in ("POST", "PUT") else None
    answer = await anonymous.request(method, path, headers=await mint(*others), content=content)
    assert answer.status_code == 403
    assert answer.json()["error"]["permission"] == permission


async def test_authentication_comes_first(anonymous: httpx2.AsyncClient) -> None:
    """A stranger's bad query and bad body are not looked at."""
    answer = await anonymous.post("/api/assets?x=1", content=b"\xff", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 401


async def test_expired_token(anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is 401 from the moment it expires, also while it is cached."""
    body = {"name": "short", "permissions": ["asset:read"], "expires_at": "2100-01-01T00:00:00Z"}
    token = (await anonymous.post("/api/tokens", json=body, headers=ADMIN)).json()["token"]
    headers = {"X-API-Key": token}
    assert (await anonymous.get("/api/assets", headers=headers)).status_code == 200
    monkeypatch.setattr("api.tokens.now_ms", lambda: 4_102_444_800_000)
    answer = await anonymous.get("/api/assets", headers=headers)
    assert answer.status_code == 401
    assert "expired" in answer.json()["error"]["message"]


async def test_revoked_token(anonymous: httpx2.AsyncClient) -> None:
    """A revoked token is 401 at once, though it was used a moment ago."""
    made = (
        await anonymous.post("/api/tokens", json={"name": "x", "permissions": ["asset:read"]}, headers=ADMIN)
    ).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await anonymous.get("/api/assets", headers=headers)).status_code == 200
    assert (await anonymous.delete(f"/api/tokens/{made['id']}", headers=ADMIN)).status_code == 204
    assert (await anonymous.get("/api/assets", headers=headers)).status_code == 401


async def test_revoked_in_another_process(make_api: MakeApi) -> None:
    """Another process honours a revoked token for at most about a second."""
    one, other = await make_api(), await make_api()
    made = (await one.post("/api/tokens", json={"name": "x", "permissions": ["asset:read"]}, headers=ADMIN)).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await other.get("/api/assets", headers=headers)).status_code == 200
    await one.delete(f"/api/tokens/{made['id']}", headers=ADMIN)
    await asyncio.sleep(1.1)
    assert (await other.get("/api/assets", headers=headers)).status_code == 401


async def test_without_admin_token(make_api: MakeApi) -> None:
    """Where no admin token is set, an empty or any other one opens nothing."""
    api = await make_api(admin_token=None)
    for headers in ({"Authorization": "Bearer None"}, {"X-API-Key": ""}, ADMIN):
        assert (await api.get("/api/assets", headers=headers)).status_code == 401


async def test_token_is_shown_once(api: httpx2.AsyncClient) -> None:
    """The list of tokens has neither the token nor its hash."""
    body: dict[str, Any] = {"name": "robot", "permissions": ["asset:read", "asset:read"]}
    made = (await api.post("/api/tokens", json=body)).json()
    assert len(made["token"]) == 47
    listed = (await api.get("/api/tokens")).json()["data"]
    assert [{key: value for key, value in made.items() if key != "token"}] == listed
    assert listed[0]["permissions"] == ["asset:read"]


@pytest.mark.parametrize(
    "changes",
    [
        {"permissions": []},
        {"permissions": ["everything"]},
        {"permissions": "asset:read"},
        {"name": ""},
        {"name": " "},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "2100-01-01T00:00:00"},
        {"expires_at": "tomorrow"},
        {"expires_at": 4102444800},
    ],
)
async def test_bad_token_request(api: httpx2.AsyncClient, changes: dict[str, Any]) -> None:
    """A token without a name, with unknown permissions or with an end in the past is 400."""
    answer = await api.post("/api/tokens", json={"name": "x", "permissions": ["asset:read"], **changes})
    assert answer.status_code == 400
    assert "/" + next(iter(changes)) in answer.json()["error"]["details"][0]["path"]


async def test_revoke_twice(api: httpx2.AsyncClient) -> None:
    """A token that is revoked already, and one that never was, are 404."""
    made = (await api.post("/api/tokens", json={"name": "x", "permissions": ["asset:read"]})).json()
    assert (await api.delete(f"/api/tokens/{made['id']}")).status_code == 204
    assert (await api.delete(f"/api/tokens/{made['id']}")).status_code == 404
    assert (await api.delete("/api/tokens/unknown")).status_code == 404
