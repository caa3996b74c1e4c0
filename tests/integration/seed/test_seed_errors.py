"""The guide's *Error Handling*: each code with its typical causes."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = {"action_ref": "core.echo", "parameters": {}}
SLEEP = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}


def refused(answer: Any) -> tuple[int, str]:
    """Status and code of an error in the one shape."""
    body = answer.json()
    assert (set(body), body["status"]) == ({"status", "error"}, "error")
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"]


async def nothing_began(stack: Stack, playbook: dict[str, Any]) -> bool:
    """True when the playbook has no execution."""
    listed = await stack.http.get(f"/api/playbooks/{playbook['id']}/executions")
    return bool(listed.json()["meta"]["total"] == 0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"target_asset_id=1", b'{"target_asset_id": "\xff"}'])
async def test_400_invalid_payload(shared: Stack, content: bytes) -> None:
    """400 Bad Request: invalid payload."""
    playbook = await shared.playbook([ECHO])
    answer = await shared.http.post(f"/api/playbooks/{playbook['id']}/run", content=content)
    assert refused(answer) == (400, "bad_request")
    assert await nothing_began(shared, playbook)


async def test_400_missing_required_fields(shared: Stack) -> None:
    """400 Bad Request: missing required fields, which are named."""
    playbook = await shared.playbook([ECHO])
    answer = await shared.http.post(f"/api/playbooks/{playbook['id']}/run", json={"dry_run": True})
    assert refused(answer) == (400, "bad_request")
    assert answer.json()["error"]["details"] == [{"path": "/target_asset_id", "message": "this field is required"}]


async def test_400_unknown_field(shared: Stack) -> None:
    """400 Bad Request: a field that the guide does not know is refused, so that a misspelt `dry_run` never runs."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    answer = await shared.post_run(playbook["id"], asset["id"], dryrun=True)
    assert refused(answer) == (400, "bad_request")
    assert await nothing_began(shared, playbook)


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer stn_" + "x" * 43}])
async def test_401_missing_token(shared: Stack, header: dict[str, str]) -> None:
    """401 Unauthorized: missing Bearer token, or one that nobody knows."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    del shared.http.headers["Authorization"]
    answer = await shared.post_run(playbook["id"], asset["id"], headers=header)
    assert refused(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_401_expired_token(shared: Stack) -> None:
    """401 Unauthorized: expired Bearer token."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    end = datetime.now(UTC) + timedelta(seconds=0.5)  # noqa: TID251
    body = {"name": "short", "permissions": ["playbook:execute"], "expires_at": end.isoformat()}
    headers = {"Authorization": f"Bearer {(await shared.http.post('/api/tokens', json=body)).json()['token']}"}
    await asyncio.sleep(0.6)
    answer = await shared.post_run(playbook["id"], asset["id"], headers=headers)
    assert refused(answer) == (401, "unauthorized")
    assert "expired" in answer.json()["error"]["message"]
    assert await nothing_began(shared, playbook)


async def test_403_without_playbook_execute(shared: Stack) -> None:
    """403 Forbidden: the token lacks the `playbook:execute` permission, whatever else it may do."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    others = ["playbook:read", "playbook:write", "asset:read", "asset:write", "token:admin", "audit:read"]
    made = await shared.http.post("/api/tokens", json={"name": "reader", "permissions": others})
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    answer = await shared.post_run(playbook["id"], asset["id"], headers=headers)
    assert refused(answer) == (403, "forbidden")
    assert "playbook:execute" in answer.json()["error"]["message"]
    assert await nothing_began(shared, playbook)


async def test_404_playbook(shared: Stack) -> None:
    """404 Not Found: playbook not found."""
    asset = await shared.asset()
    answer = await shared.post_run(f"pb-{uuid.uuid4()}", asset["id"])
    assert refused(answer) == (404, "not_found")
    assert "playbook" in answer.json()["error"]["message"]


async def test_404_asset(shared: Stack) -> None:
    """404 Not Found: asset not found."""
    playbook = await shared.playbook([ECHO])
    answer = await shared.post_run(playbook["id"], str(uuid.uuid4()))
    assert refused(answer) == (404, "not_found")
    assert "asset" in answer.json()["error"]["message"]
    assert await nothing_began(shared, playbook)


async def test_404_deleted_playbook(shared: Stack) -> None:
    """404 Not Found: a playbook that was deleted is no longer found."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    assert (await shared.http.delete(f"/api/playbooks/{playbook['id']}")).status_code == 204
    assert refused(await shared.post_run(playbook["id"], asset["id"])) == (404, "not_found")


@pytest.mark.parametrize("dry_run", [False, True])
async def test_409_already_running(shared: Stack, dry_run: bool) -> None:
    """409 Conflict: this playbook is already running for the asset; a rehearsal is a run too."""
    playbook, asset = await shared.playbook([SLEEP]), await shared.asset()
    first = (await shared.post_run(playbook["id"], asset["id"])).json()["execution_id"]
    answer = await shared.post_run(playbook["id"], asset["id"], dry_run=dry_run)
    assert refused(answer) == (409, "conflict")
    assert answer.json()["error"]["execution_id"] == first
    await shared.cancel(first)


async def test_422_parameter_validation(shared: Stack) -> None:
    """422 Unprocessable Entity: parameter validation failed against the playbook schema; every violation is told."""
    schema = {
        "type": "object",
        "required": ["ticket"],
        "properties": {
            "ticket": {"type": "integer"},
            "severity": {"enum": ["low", "high"]},
            "hosts": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    }
    playbook, asset = await shared.playbook([ECHO], parameters=schema), await shared.asset()
    given = {"severity": "odd", "hosts": ["a", 1], "more": True}
    answer = await shared.post_run(playbook["id"], asset["id"], parameters=given)
    assert refused(answer) == (422, "validation_error")
    paths = {detail["path"] for detail in answer.json()["error"]["details"]}
    assert {"/parameters/ticket", "/parameters/severity", "/parameters/hosts/1", "/parameters/more"} == paths
    assert await nothing_began(shared, playbook)
