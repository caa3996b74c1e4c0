"""The codec endpoint, asked as Temporal's own tools ask it, and keys that are rotated under a run."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import SecretStr

from engine.codec import key_id
from engine.embedded import binary
from tests.stack import TOKEN, Stack, running_stack, stack_settings

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
ECHO = {"action_ref": "core.echo", "parameters": {"text": "open sesame"}}
ASK = {"type": "approval", "name": "May I", "message": "?"}
UI = "http://ui.example.com:8233"


def settings(folder: Path, *keys: str, **changes: Any) -> Any:
    """Settings with these keys."""
    return stack_settings(folder, encryption_key=SecretStr(",".join(keys)), **changes)


async def codec_token(stack: Stack, *permissions: str) -> str:
    """A token for the codec."""
    body = {"name": "web ui", "permissions": list(permissions) or ["payload:decode"]}
    token: str = (await stack.http.post("/api/tokens", json=body)).json()["token"]
    return token


async def payloads_of(stack: Stack, execution: str) -> list[dict[str, Any]]:
    """The encrypted payloads in the history of a run, as the Web UI gets them."""
    status = await stack.status(execution)
    history = await stack.temporal.get_workflow_handle(status["temporal"]["workflow_id"]).fetch_history()
    found: list[dict[str, Any]] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("metadata", {}).get("encoding") == base64.b64encode(b"binary/encrypted").decode():
                found.append(value)
            for part in value.values():
                collect(part)
        elif isinstance(value, list):
            for part in value:
                collect(part)

    for event in history.events:
        collect(MessageToDict(event))
    return found


async def test_the_codec_shows_what_temporal_keeps_encrypted(tmp_path: Path) -> None:
    """By header and by address; what is encoded again is decoded to the same."""
    async with running_stack(settings(tmp_path, NEW)) as stack:
        execution = await stack.start([ECHO])
        await stack.finish(execution)
        sealed = await payloads_of(stack, execution)
        assert sealed
        assert "open sesame" not in json.dumps(sealed)
        token = await codec_token(stack)
        async with httpx2.AsyncClient(base_url=stack.url) as http:
            for path, headers in (
                ("/api/codec", {"Authorization": f"Bearer {token}", "X-Namespace": "default"}),
                (f"/api/codec/with/{token}", {}),
            ):
                answer = await http.post(f"{path}/decode", json={"payloads": sealed}, headers=headers)
                assert answer.status_code == 200, answer.text
                opened = answer.json()["payloads"]
                assert len(opened) == len(sealed)
                assert any("open sesame" in base64.b64decode(one["data"]).decode() for one in opened)
                again = (await http.post(f"{path}/encode", json={"payloads": opened}, headers=headers)).json()
                back = await http.post(f"{path}/decode", json=again, headers=headers)
                assert back.json()["payloads"] == opened


async def test_temporals_own_command_line_asks_it(tmp_path: Path) -> None:
    """`temporal workflow show` with the codec shows what was given; without it, it does not."""
    async with running_stack(settings(tmp_path, NEW)) as stack:
        execution = await stack.start([ECHO])
        status = await stack.finish(execution)
        command = [str(binary()), "workflow", "show", "--workflow-id", status["temporal"]["workflow_id"], "-o", "json"]
        command += ["--address", stack.settings.temporal_address]
        codec = ["--codec-endpoint", f"{stack.url}/api/codec", "--codec-auth", f"Bearer {await codec_token(stack)}"]
        for options, shown in ((codec, True), ([], False)):
            process = await asyncio.create_subprocess_exec(*command, *options, stdout=-1, stderr=-1)
            output, errors = await process.communicate()
            assert process.returncode == 0, errors
            told = [base64.b64decode(data) for data in re.findall(rb'"data": "([^"]*)"', output)]
            assert any(b"open sesame" in one for one in told) is shown


@pytest.mark.parametrize(
    "permissions", [["playbook:read", "playbook:execute", "audit:read", "token:admin"], ["secret:write"]]
)
async def test_no_other_permission_opens_it(tmp_path: Path, permissions: list[str]) -> None:
    """What is decoded is not masked: it has a permission of its own."""
    async with running_stack(settings(tmp_path, NEW), worker=False) as stack:
        token = await codec_token(stack, *permissions)
        async with httpx2.AsyncClient(base_url=stack.url) as http:
            body: dict[str, Any] = {"payloads": []}
            assert (await http.post("/api/codec/decode", json=body)).status_code == 401
            assert (await http.post("/api/codec/decode", json=body, headers={"X-API-Key": token})).status_code == 403
            assert (await http.post(f"/api/codec/with/{token}/decode", json=body)).status_code == 404
            assert (await http.post("/api/codec/with/nobody/decode", json=body)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nonsense",
        b'{"payloads": 1}',
        b'{"payloads": [{"data": 1}]}',
        b"[" * 100_000,
        b'{"payloads": ' * 50_000,
        b'{"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "AAAA"}]}',
    ],
)
async def test_what_is_no_payload(idle_stack: Stack, body: bytes) -> None:
    """400, whatever it is; what cannot be decrypted is told without what it was."""
    answer = await idle_stack.http.post("/api/codec/decode", content=body)
    if idle_stack.settings.encryption_key is None and b"metadata" in body:
        assert answer.status_code == 200  # nothing is encrypted here: what comes goes back
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")


async def test_pages_of_the_web_ui_may_ask_and_no_others(tmp_path: Path) -> None:
    """And those pages may use nothing but the codec."""
    async with running_stack(settings(tmp_path, NEW, temporal_ui_url=f"{UI}/"), worker=False) as stack:

        async def allowed(path: str, origin: str) -> bool:
            asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            asked["Access-Control-Request-Headers"] = "content-type,x-namespace,authorization"
            answer = await stack.http.request("OPTIONS", path, headers=asked)
            given = answer.headers.get("access-control-allow-origin")
            assert given in (None, origin)
            return given == origin and answer.status_code == 200

        assert await allowed("/api/codec/decode", UI)
        assert await allowed(f"/api/codec/with/{TOKEN}/decode", UI)
        assert not await allowed("/api/codec/decode", "http://ui.example.com")
        assert not await allowed("/api/codec/decode", "https://evil.example.com")
        assert not await allowed("/api/assets", UI)


async def test_a_run_outlives_the_rotation_of_its_key(tmp_path: Path) -> None:
    """Begun with the old key, finished with a new one before it; a new run is encrypted with the new key alone."""
    first = settings(tmp_path, OLD)
    async with running_stack(first) as stack:
        execution = await stack.start(
            [ECHO, ASK, {**ECHO, "parameters": {"text": "{{ steps['act-001'].output.text }}"}}]
        )
        await stack.until_step(execution, 1, "running")
        assert {_key(one) for one in await payloads_of(stack, execution)} == {_key_of(OLD)}
    rotated = first.model_copy(update={"encryption_key": SecretStr(f"{NEW},{OLD}")})
    async with running_stack(rotated) as stack:
        step = (await stack.status(execution))["steps"][1]["action_id"]
        path = f"/api/playbooks/executions/{execution}/steps/{step}/approve"
        assert (await stack.http.post(path)).status_code == 200
        status = await stack.finish(execution)
        assert (status["status"], status["steps"][2]["output"]["text"]) == ("completed", "open sesame")
        assert {_key(one) for one in await payloads_of(stack, execution)} == {_key_of(OLD), _key_of(NEW)}
        second = await stack.start([ECHO])
        await stack.finish(second)
        assert {_key(one) for one in await payloads_of(stack, second)} == {_key_of(NEW)}


def _key(payload: dict[str, Any]) -> str:
    return base64.b64decode(payload["metadata"]["encryption-key-id"]).decode()


def _key_of(encoded: str) -> str:

    return key_id(base64.b64decode(encoded))
