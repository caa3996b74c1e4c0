"""Webhooks: a signed delivery starts its playbook, once; anything else starts nothing."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
import uuid
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from engine.runs import Runs
from storage import hooks
from storage.database import Database
from tests.integration.engine.test_blocks import echo, sleeps
from tests.stack import Stack, running_stack, stack_settings

BODY = {"host": "web-01.example", "finding": {"id": "F-1", "severity": "high"}}
TRIGGER = {"event": "webhook", "asset": "{{ payload.host }}", "parameters": {"id": "{{ payload.finding.id }}"}}


async def hooked(stack: Stack, trigger: Any = None, *steps: dict[str, Any], **hook: Any) -> dict[str, Any]:
    """A hook of a playbook of its own; its asset is ``web-01.example``."""
    await stack.asset(hostname="web-01.example")
    playbook = await stack.playbook(
        list(steps) or [echo("a", given="{{ parameters }}")], trigger=TRIGGER if trigger is None else trigger
    )
    answer = await stack.http.post(f"/api/playbooks/{playbook['id']}/hooks", json={"name": "scanner", **hook})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def signed(hook: dict[str, Any], body: bytes, message_id: str | None = None, at: float | None = None) -> dict[str, str]:
    """Headers as Standard Webhooks has them."""
    message_id = message_id or f"msg_{uuid.uuid4()}"
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    digest = hmac.digest(key, b".".join((message_id.encode(), stamp.encode(), body)), "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        "content-type": "application/json",
    }


async def deliver(stack: Stack, hook: dict[str, Any], body: Any = BODY, **headers: str) -> httpx2.Response:
    """Posts a delivery without any token; ``headers`` replace the signature."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx2.AsyncClient(base_url=stack.url, timeout=30) as client:
        return await client.post(hook["url"], content=content, headers=headers or signed(hook, content))


def code(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


async def total(stack: Stack) -> int:
    """How many executions there are."""
    found: int = (await stack.http.get("/api/playbooks/executions")).json()["meta"]["total"]
    return found


async def test_a_delivery_starts_the_playbook(stack: Stack) -> None:
    """On the asset, and with the parameters, that the trigger makes of the payload."""
    hook = await hooked(stack)
    answer = await deliver(stack, hook)
    assert answer.status_code == 202, answer.text
    status = await stack.finish(answer.json()["execution_id"])
    assert (status["status"], status["source"]) == ("completed", "webhook")
    assert status["steps"][0]["output"] == {"given": {"id": "F-1"}}
    assert answer.headers["location"].endswith(status["execution_id"])
    entries = (await stack.http.get("/api/audit", params={"object_id": status["execution_id"]})).json()["data"]
    assert [entry["actor_id"] for entry in entries] == [f"hook:{hook['id']}"]


async def test_a_payload_may_name_asset_and_parameters_itself(stack: Stack) -> None:
    """As the body of a run does."""
    hook = await hooked(stack, {"event": "webhook"})
    asset = await stack.asset()
    answer = await deliver(stack, hook, {"target_asset_id": asset["id"], "parameters": {"n": 1}})
    status = await stack.finish(answer.json()["execution_id"])
    assert status["steps"][0]["output"] == {"given": {"n": 1}}


async def test_a_finding_arrives_whole(stack: Stack) -> None:
    """With the event of a finding and nothing else said, ``finding`` is what the payload tells of it."""
    trigger = {"event": "finding.created", "conditions": [{"field": "severity", "operator": "eq", "value": "high"}]}
    hook = await hooked(stack, trigger, echo("a", id="{{ finding.id }}"))
    answer = await deliver(stack, hook, {"finding": {**BODY["finding"], "asset": {"id": "web-01.example"}}})
    assert answer.status_code == 202, answer.text
    assert (await stack.finish(answer.json()["execution_id"]))["steps"][0]["output"] == {"id": "F-1"}
    low = {"finding": {"id": "F-2", "severity": "low", "asset": {"id": "web-01.example"}}}
    answer = await deliver(stack, hook, low)
    assert (answer.status_code, answer.json()["status"]) == (200, "skipped")
    assert await total(stack) == 1


async def test_conditions_may_be_an_expression(stack: Stack) -> None:
    """What they give is true or false, or the delivery is refused."""
    hook = await hooked(stack, {**TRIGGER, "conditions": "payload.finding.severity in ['high', 'critical']"})
    low = {**BODY, "finding": {"id": "F-2", "severity": "low"}}
    assert (await deliver(stack, hook, low)).json()["status"] == "skipped"
    assert code(await deliver(stack, hook, {"host": "web-01.example"})) == (400, "bad_request")
    answer = await deliver(stack, hook)
    assert answer.status_code == 202
    await stack.finish(answer.json()["execution_id"])


async def test_a_replay_is_refused(stack: Stack) -> None:
    """Also while the first is under way, and many at once: it is one run.

    One that comes before Temporal has the run may help to start that very run, and is answered 202 with it.
    """
    hook = await hooked(stack)
    body = json.dumps(BODY).encode()
    headers = signed(hook, body)
    answers = await asyncio.gather(*(deliver(stack, hook, body, **headers) for _ in range(8)))
    started = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.json()["execution_id"] for answer in started}) == 1
    execution = started[0].json()["execution_id"]
    for answer in answers:
        if answer not in started:
            assert code(answer) == (409, "replayed")
            assert answer.json()["error"]["execution_id"] == execution
    await stack.finish(execution)
    assert code(await deliver(stack, hook, body, **headers)) == (409, "replayed")
    assert await total(stack) == 1


async def test_a_start_that_was_lost_is_made_good_by_the_same_delivery(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was written and all ended before Temporal was asked: the sender's next try begins that run."""
    hook = await hooked(stack)
    body = json.dumps(BODY).encode()
    headers = signed(hook, body)

    async def dies(*_: object) -> str:
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(Runs, "start", dies)
        assert code(await deliver(stack, hook, body, **headers)) == (500, "internal")
    again = await deliver(stack, hook, body, **headers)
    assert again.status_code == 202, again.text
    assert (await stack.finish(again.json()["execution_id"]))["status"] == "completed"
    assert await total(stack) == 1


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_an_unsigned_delivery_is_refused(stack: Stack, missing: str) -> None:
    """Each header of the signature is needed."""
    hook = await hooked(stack)
    body = json.dumps(BODY).encode()
    headers = signed(hook, body)
    del headers[missing]
    assert code(await deliver(stack, hook, body, **headers)) == (401, "unauthorized")
    assert await total(stack) == 0


async def test_a_wrong_signature_is_refused(stack: Stack) -> None:
    """Another body, another id, another secret, a time long ago or yet to come."""
    hook, other = await hooked(stack), await hooked(stack)
    body = json.dumps(BODY).encode()
    headers = signed(hook, body)
    wrong = [
        (body + b" ", headers),
        (body, {**headers, "webhook-id": "msg_other"}),
        (body, {**headers, "webhook-signature": "v1,AAAA"}),
        (body, signed(other, body)),
        (body, signed(hook, body, at=time.time() - 400)),
        (body, signed(hook, body, at=time.time() + 400)),
    ]
    for content, given in wrong:
        assert code(await deliver(stack, hook, content, **given)) == (401, "unauthorized")
    assert await total(stack) == 0
    denied = (await stack.http.get("/api/audit", params={"actor": f"hook:{hook['id']}"})).json()
    async with asyncio.timeout(60):
        while not denied["data"]:
            await asyncio.sleep(0.1)
            denied = (await stack.http.get("/api/audit", params={"actor": f"hook:{hook['id']}"})).json()
    assert {entry["outcome"] for entry in denied["data"]} == {"denied"}


async def test_a_delivery_as_github_signs_it(stack: Stack) -> None:
    """HMAC over the body in X-Hub-Signature-256; the same body is the same delivery."""
    secret = "a secret of the sender"
    hook = await hooked(stack, signature="github", secret=secret)
    body = json.dumps(BODY).encode()
    headers = {"x-hub-signature-256": "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()}
    answer = await deliver(stack, hook, body, **headers)
    assert answer.status_code == 202
    await stack.finish(answer.json()["execution_id"])
    assert code(await deliver(stack, hook, body, **headers)) == (409, "replayed")
    assert code(await deliver(stack, hook, b"{}", **headers)) == (401, "unauthorized")


async def test_a_hook_without_signature(stack: Stack) -> None:
    """The address is the secret; a delivery with an id is known again."""
    hook = await hooked(stack, signature="none")
    assert hook["secret"] is None
    answer = await deliver(stack, hook, BODY, **{"webhook-id": "one"})
    assert answer.status_code == 202
    await stack.finish(answer.json()["execution_id"])
    assert code(await deliver(stack, hook, BODY, **{"webhook-id": "one"})) == (409, "replayed")
    answer = await deliver(stack, hook, BODY, accept="*/*")
    assert answer.status_code == 202
    await stack.finish(answer.json()["execution_id"])


async def test_the_conflict_rule_holds(stack: Stack) -> None:
    """A delivery while the playbook runs on the asset is refused, and may be sent again."""
    hook = await hooked(stack, TRIGGER, sleeps("long", 60))
    first = (await deliver(stack, hook)).json()["execution_id"]
    body = json.dumps(BODY).encode()
    headers = signed(hook, body)
    answer = await deliver(stack, hook, body, **headers)
    assert code(answer) == (409, "conflict")
    assert answer.json()["error"]["execution_id"] == first
    await stack.cancel(first)
    async with asyncio.timeout(60):
        while (answer := await deliver(stack, hook, body, **headers)).status_code != 202:
            await asyncio.sleep(0.1)
    await stack.cancel(answer.json()["execution_id"])


async def test_payloads_that_do_not_fit(stack: Stack) -> None:
    """Each is refused with what is wrong, and starts nothing."""
    hook = await hooked(stack)
    assert code(await deliver(stack, hook, b"not json")) == (400, "bad_request")
    assert code(await deliver(stack, hook, {"finding": {"id": 1}})) == (400, "bad_request")
    assert code(await deliver(stack, hook, {**BODY, "host": 7})) == (400, "bad_request")
    assert code(await deliver(stack, hook, {**BODY, "host": "unknown.example"})) == (404, "not_found")
    await stack.asset(name="twin", hostname="twin.example")
    await stack.asset(name="other", hostname="twin.example")
    assert code(await deliver(stack, hook, {**BODY, "host": "twin.example"})) == (409, "conflict")
    assert code(await deliver(stack, hook, b"[" * 100_000)) == (400, "bad_request")
    assert code(await deliver(stack, hook, b" " * 1_100_000)) == (413, "too_large")
    assert await total(stack) == 0


async def test_an_unknown_or_removed_hook(stack: Stack) -> None:
    """404; a hook that was removed is worthless at once, and one whose playbook takes no webhooks any more."""
    assert (await stack.http.post("/api/hooks/no-such-token", json={})).status_code == 404
    hook = await hooked(stack)
    url = f"/api/playbooks/{hook['playbook_id']}"
    assert (await stack.http.delete(f"{url}/hooks/{hook['id']}")).status_code == 204
    assert (await stack.http.delete(f"{url}/hooks/{hook['id']}")).status_code == 404
    assert code(await deliver(stack, hook)) == (404, "not_found")
    other = await hooked(stack)
    url = f"/api/playbooks/{other['playbook_id']}"
    playbook = (await stack.http.get(url)).json()
    body = {"name": playbook["name"], "steps": playbook["steps"]}
    assert (await stack.http.put(url, json=body)).status_code == 200
    assert code(await deliver(stack, other)) == (409, "conflict")
    assert (await stack.http.post(f"{url}/hooks", json={"name": "no"})).status_code == 409
    assert (await stack.http.delete(url)).status_code == 204
    assert code(await deliver(stack, other)) == (404, "not_found")


async def test_hooks_are_listed_without_their_secrets(stack: Stack) -> None:
    """And made only by who may write playbooks."""
    hook = await hooked(stack)
    url = f"/api/playbooks/{hook['playbook_id']}/hooks"
    [listed] = (await stack.http.get(url)).json()["data"]
    assert listed == {name: hook[name] for name in listed}
    assert {"token", "secret", "url"}.isdisjoint(listed)
    reader = (await stack.http.post("/api/tokens", json={"name": "r", "permissions": ["playbook:read"]})).json()
    headers = {"Authorization": f"Bearer {reader['token']}"}
    assert (await stack.http.post(url, json={"name": "x"}, headers=headers)).status_code == 403
    for body, path in [
        ({"name": "x", "secret": "short"}, "/secret"),
        ({"name": "x", "signature": "none", "secret": "a secret of some length"}, "/secret"),
        ({"name": "x", "signature": "md5"}, "/signature"),
    ]:
        answer = await stack.http.post(url, json=body)
        assert code(answer) == (400, "bad_request")
        assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]


async def test_the_secret_is_sealed(tmp_path: Any) -> None:
    """Where a key is set, the database does not tell the secret; token and secret stand in no log line."""
    key = base64.b64encode(b"k" * 32).decode()
    async with running_stack(stack_settings(tmp_path, encryption_key=SecretStr(key))) as stack:
        hook = await hooked(stack)
        rows, _ = await stack.database.read(hooks.list_hooks, hook["playbook_id"])
        assert rows[0].secret is not None
        assert rows[0].secret.startswith("sealed:")
        answer = await deliver(stack, hook)
        assert answer.status_code == 202
        await stack.finish(answer.json()["execution_id"])
        database: Database = stack.database
        assert hook["token"] not in str(await database.read(hooks.list_hooks, hook["playbook_id"]))
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert hook["token"].encode() not in written
    assert hook["secret"].removeprefix("whsec_").encode() not in written
