"""Secrets in the database over HTTP: set, listed by name, deleted, and never shown again."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from activities.errors import ActionError
from engine.sealing import Sealer
from engine.secrets import DatabaseSecrets
from tests.integration.api.conftest import ADMIN, MakeApi, Minter

VALUE = "hunter2-hunter2-ünique"


def new_key() -> str:
    """A key as the setting takes it."""
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def key() -> str:
    """The key of the API."""
    return new_key()


@pytest.fixture
async def sealed_api(make_api: MakeApi, key: str) -> httpx2.AsyncClient:
    """An API with an encryption key."""
    client = await make_api(encryption_key=SecretStr(key))
    client.headers.update(ADMIN)
    return client


def worker_side(make_api: MakeApi, *keys: str) -> DatabaseSecrets:
    """What a worker with ``keys`` finds in the database."""
    app: FastAPI = make_api.apps[-1]
    settings = app.state.services.settings.model_copy(update={"encryption_key": SecretStr(",".join(keys))})
    return DatabaseSecrets(app.state.services.database, Sealer.of(settings))


async def test_a_secret_reaches_the_worker_alone(
    sealed_api: httpx2.AsyncClient, make_api: MakeApi, key: str, tmp_path: Path
) -> None:
    """The worker finds the value; no answer, no list and no file of the database shows it."""
    stored = await sealed_api.put("/api/secrets/smtp_password", json={"value": VALUE})
    assert stored.status_code == 200
    listed = await sealed_api.get("/api/secrets")
    assert listed.json()["data"] == [stored.json()]
    assert set(stored.json()) == {"name", "created_at", "updated_at", "updated_by"}
    audit = await sealed_api.get("/api/audit")
    assert [entry["action"] for entry in audit.json()["data"]] == ["secret.set"]
    assert await worker_side(make_api, key).find("smtp_password") == VALUE
    assert await worker_side(make_api, key).find("other") is None
    for written in (
        stored.content,
        listed.content,
        audit.content,
        *(f.read_bytes() for f in tmp_path.glob("*.sqlite*")),
    ):
        assert VALUE.encode() not in written
        assert base64.b64encode(VALUE.encode())[:20] not in written


async def test_a_secret_is_replaced_and_deleted(sealed_api: httpx2.AsyncClient, make_api: MakeApi, key: str) -> None:
    """The later value counts; a deleted one is gone, also from the list, and deleting it again is 404."""
    await sealed_api.put("/api/secrets/a", json={"value": "one"})
    await sealed_api.put("/api/secrets/a", json={"value": "two"})
    assert await worker_side(make_api, key).find("a") == "two"
    assert (await sealed_api.delete("/api/secrets/a")).status_code == 204
    assert await worker_side(make_api, key).find("a") is None
    assert (await sealed_api.get("/api/secrets")).json()["meta"]["total"] == 0
    assert (await sealed_api.delete("/api/secrets/a")).status_code == 404


async def test_keys_are_replaced_as_for_payloads(sealed_api: httpx2.AsyncClient, make_api: MakeApi, key: str) -> None:
    """A new key in front still opens what the old one sealed; without the old one the step is told why."""
    await sealed_api.put("/api/secrets/a", json={"value": VALUE})
    new = new_key()
    assert await worker_side(make_api, new, key).find("a") == VALUE
    with pytest.raises(ActionError, match="secrets_unavailable: The secret 'a' of the database cannot be opened"):
        await worker_side(make_api, new).find("a")


async def test_a_sealed_value_is_bound_to_its_name(sealed_api: httpx2.AsyncClient, make_api: MakeApi, key: str) -> None:
    """Whoever can write to the database cannot give one secret the place of another."""
    from sqlalchemy import text

    await sealed_api.put("/api/secrets/a", json={"value": "for a"})
    await sealed_api.put("/api/secrets/b", json={"value": "for b"})
    swap = text("UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'a') WHERE name = 'b'")
    await make_api.apps[-1].state.services.database.write(lambda connection: connection.execute(swap) and None)
    with pytest.raises(ActionError, match="changed, or moved"):
        await worker_side(make_api, key).find("b")


async def test_without_a_key_nothing_is_stored(api: httpx2.AsyncClient) -> None:
    """The refusal says what to set; nothing was written."""
    answer = await api.put("/api/secrets/a", json={"value": VALUE})
    assert answer.status_code == 409
    assert "set STANCHION_ENCRYPTION_KEY" in answer.json()["error"]["message"]
    assert (await api.get("/api/secrets")).json()["data"] == []


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("a", {"value": ""}, 400),
        ("a", {"value": "x\0y"}, 400),
        ("a", {"value": "x" * 65537}, 400),
        ("a", {"value": VALUE, "note": 1}, 400),
        ("a", {"value": [VALUE]}, 400),
        ("1a", {"value": VALUE}, 404),
        ("a%2Fb", {"value": VALUE}, 404),
    ],
)
async def test_what_is_no_secret(sealed_api: httpx2.AsyncClient, name: str, body: object, status: int) -> None:
    """Names and values that cannot be are refused, and the refusal does not repeat the value."""
    answer = await sealed_api.put(f"/api/secrets/{name}", json=body)
    assert answer.status_code == status
    assert VALUE not in answer.text


async def test_secrets_need_their_own_permission(sealed_api: httpx2.AsyncClient, mint: Minter) -> None:
    """Whoever may write playbooks may not set secrets, nor list their names."""
    headers = await mint("playbook:write", "token:admin", "audit:read")
    for method, path in (("PUT", "/api/secrets/a"), ("GET", "/api/secrets"), ("DELETE", "/api/secrets/a")):
        assert (await sealed_api.request(method, path, headers=headers)).status_code == 403
