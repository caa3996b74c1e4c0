"""Host keys over HTTP: trusted, listed, forgotten, and who did it."""

from __future__ import annotations

from typing import Any

import asyncssh
import httpx2
from fastapi import FastAPI

from tests.integration.api.test_api_audit import trail


def body(**changes: Any) -> dict[str, Any]:
    """A key of web-01, with ``changes``."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    return {"host": "web-01", "key": key, **changes}


async def trust(api: httpx2.AsyncClient, **changes: Any) -> dict[str, Any]:
    """The answer to a key that is trusted."""
    answer = await api.post("/api/host-keys", json=body(**changes))
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def listed(api: httpx2.AsyncClient, **filters: Any) -> list[str]:
    """The fingerprints that count."""
    answer = await api.get("/api/host-keys", params=filters)
    assert answer.status_code == 200, answer.text
    return [one["fingerprint"] for one in answer.json()["data"]]


async def test_trust_list_forget(api: httpx2.AsyncClient) -> None:
    """A key counts from the one to the other, for its host and port."""
    key = body()
    stored = await trust(api, **key)
    assert (stored["host"], stored["port"], stored["algorithm"]) == ("web-01", 22, "ssh-ed25519")
    assert stored["fingerprint"] == asyncssh.import_public_key(key["key"]).get_fingerprint()
    other = await trust(api, port=2222)
    assert await listed(api, host="WEB-01") == [stored["fingerprint"], other["fingerprint"]]
    assert await listed(api, host="web-01", port=2222) == [other["fingerprint"]]
    assert (await api.delete(f"/api/host-keys/{stored['id']}")).status_code == 204
    assert (await api.delete(f"/api/host-keys/{stored['id']}")).status_code == 404
    assert await listed(api) == [other["fingerprint"]]


async def test_the_same_key_again(api: httpx2.AsyncClient) -> None:
    """It is the same one."""
    key = body()
    assert (await trust(api, **key))["id"] == (await trust(api, **key))["id"]


async def test_replace(api: httpx2.AsyncClient) -> None:
    """A host that was set up anew has its new key only."""
    await trust(api)
    new = await trust(api, replace=True)
    assert await listed(api) == [new["fingerprint"]]


async def test_what_is_no_key(api: httpx2.AsyncClient) -> None:
    """It is refused with its place in the request."""
    answer = await api.post("/api/host-keys", json={"host": "web-01", "key": "ssh-ed25519 AAAA"})
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, "/key")


async def test_the_trail(app: FastAPI, api: httpx2.AsyncClient) -> None:
    """Who trusted which key of which host stands in the audit trail."""
    stored = await trust(api)
    await api.delete(f"/api/host-keys/{stored['id']}")
    forgotten, trusted = await trail(app, api)
    assert (trusted["action"], forgotten["action"]) == ("host_key.trust", "host_key.forget")
    assert trusted["object_id"] == forgotten["object_id"] == stored["id"]
    assert trusted["details"]["fingerprint"] == stored["fingerprint"]
