"""``notify.send`` on the wire of each service, against a real receiver."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.exceptions import ApplicationError

from activities.action import ActionContext, ActionError
from activities.tell.notice import NotifyInput, NotifyOutput
from activities.tell.notify import Notify
from tests.unit.activities.action_support import LocalServer, Received, Stage, http_answer, make_context

FULL: dict[str, Any] = {
    "title": "Finding on web-01",
    "text": "Somebody <!channel> & more",
    "severity": "high",
    "fields": {"asset": "web-01", "score": 9.8, "exploited": True, "owner": None},
    "links": [{"text": "Run", "url": "https://stanchion.example/runs/1"}],
}
PAGER_OK = http_answer(202, b'{"status":"success","message":"Event processed","dedup_key":"k"}')
GENIE_OK = http_answer(202, b'{"result":"Request will be processed","took":0.3,"requestId":"43a29c5c"}')
DELIVERED = {
    "slack": http_answer(200, b"ok"),
    "teams": http_answer(202),
    "discord": http_answer(200, b'{"id": "1122"}', content_type="application/json"),
    "webhook": http_answer(204),
    "pagerduty": PAGER_OK,
    "opsgenie": GENIE_OK,
}
PLACES = {"pagerduty": "/v2/enqueue", "opsgenie": "/v2/alerts"}


def target(server: LocalServer, service: str) -> dict[str, str]:
    """The parameters that send ``service`` to the receiver."""
    if service in PLACES:
        return {"service": service, "url": server.url, "token": "T0KEN"}
    return {"service": service, "url": f"{server.url}/hook/XXXX"}


def answer(server: LocalServer, service: str, reply: bytes) -> None:
    server.answers[PLACES.get(service, "/hook/XXXX")] = reply


async def send(context: ActionContext, **inputs: object) -> NotifyOutput:
    return await Notify().run(NotifyInput.model_validate(inputs), context)


async def failure(context: ActionContext, **inputs: object) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await send(context, **inputs)
    return raised.value


async def sent(server: LocalServer, context: ActionContext, service: str, **inputs: object) -> Any:
    """The document that the service got of a full message."""
    answer(server, service, DELIVERED[service])
    await send(context, **{**FULL, **target(server, service), **inputs})
    return json.loads(server.received[-1].body)


async def test_slack_gets_blocks_and_a_fallback(server: LocalServer, context: ActionContext) -> None:
    """Title, text, fields and links are laid out, and nothing in the text is taken as a mention."""
    message = await sent(server, context, "slack", channel="#ops")
    assert message["text"] == "*Finding on web-01*\nSomebody &lt;!channel&gt; &amp; more"
    assert message["channel"] == "#ops"
    header, text, fields, links = message["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "Finding on web-01"}
    assert text["text"]["text"] == "*HIGH*  Somebody &lt;!channel&gt; &amp; more"
    assert [field["text"] for field in fields["fields"]] == ["*asset*\nweb-01", "*score*\n9.8", "*exploited*\nyes"]
    assert links["text"]["text"] == "<https://stanchion.example/runs/1|Run>"


async def test_teams_gets_an_adaptive_card(server: LocalServer, context: ActionContext) -> None:
    """A workflow's webhook takes a message with a card attached, and nothing else."""
    message = await sent(server, context, "teams")
    (attachment,) = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    title, text, facts = card["body"]
    assert (title["text"], title["color"]) == ("Finding on web-01", "Attention")
    assert (text["text"], text["wrap"]) == ("Somebody <!channel> & more", True)
    assert facts["facts"][:2] == [{"title": "Severity", "value": "high"}, {"title": "asset", "value": "web-01"}]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Run", "url": "https://stanchion.example/runs/1"}]


@pytest.mark.parametrize("text", ["x" * 40_000, "ä" * 40_000, '"' * 40_000])
async def test_teams_never_gets_more_than_it_takes(server: LocalServer, context: ActionContext, text: str) -> None:
    """28 KB is the limit of a message; the text is cut until it fits."""
    await sent(server, context, "teams", text=text)
    assert len(server.received[-1].body) < 28 * 1024


async def test_discord_gets_an_embed_and_mentions_nobody(server: LocalServer, context: ActionContext) -> None:
    """The embed has colour, fields and link; mentions are off; it waits for the message's id."""
    answer(server, "discord", DELIVERED["discord"])
    output = await send(context, **FULL, service="discord", url=f"{server.url}/hook/XXXX?thread_id=7")
    assert (output.id, output.status) == ("1122", 200)
    assert server.received[0].path == "/hook/XXXX?thread_id=7&wait=true"
    message = json.loads(server.received[0].body)
    assert message["allowed_mentions"] == {"parse": []}
    (embed,) = message["embeds"]
    assert (embed["title"], embed["color"]) == ("Finding on web-01", 0xE65100)
    assert {"name": "asset", "value": "web-01", "inline": True} in embed["fields"]
    assert embed["fields"][-1] == {"name": "Link", "value": "[Run](https://stanchion.example/runs/1)", "inline": True}


async def test_discord_never_gets_more_than_it_takes(server: LocalServer, context: ActionContext) -> None:
    """6,000 characters an embed, 25 fields: what does not fit is left out."""
    fields = {f"name {number}": "x" * 3000 for number in range(25)}
    message = await sent(server, context, "discord", text="y" * 40_000, title="t" * 900, fields=fields)
    (embed,) = message["embeds"]
    size = len(embed["title"]) + len(embed["description"])
    size += sum(len(field["name"]) + len(field["value"]) for field in embed["fields"])
    assert size <= 6000
    assert len(embed["title"]) <= 256


async def test_pagerduty_gets_an_event(server: LocalServer, context: ActionContext) -> None:
    """Events API v2: routing key, payload, links, and a key of the step of the run."""
    answer(server, "pagerduty", PAGER_OK)
    output = await send(context, **FULL, **target(server, "pagerduty"), source="web-01")
    event = json.loads(server.received[0].body)
    assert event == {
        "routing_key": "T0KEN",
        "event_action": "trigger",
        "dedup_key": output.key,
        "payload": {
            "summary": "Finding on web-01",
            "source": "web-01",
            "severity": "error",
            "custom_details": {
                "asset": "web-01",
                "score": "9.8",
                "exploited": "yes",
                "text": "Somebody <!channel> & more",
            },
        },
        "client": "Stanchion",
        "links": [{"href": "https://stanchion.example/runs/1", "text": "Run"}],
    }


async def test_pagerduty_resolves_what_was_triggered(server: LocalServer, context: ActionContext) -> None:
    """The key of the output resolves the alert; PagerDuty wants no payload then."""
    answer(server, "pagerduty", PAGER_OK)
    opened = await send(context, **target(server, "pagerduty"), text="down")
    await send(context, **target(server, "pagerduty"), text="up again", event="resolve", key=opened.key)
    assert json.loads(server.received[1].body) == {
        "routing_key": "T0KEN",
        "event_action": "resolve",
        "dedup_key": opened.key,
    }


@pytest.mark.parametrize("service", ["pagerduty", "opsgenie"])
async def test_a_repeat_is_the_same_alert(server: LocalServer, service: str) -> None:
    """Two attempts of a step have one key; another step and another run have others."""
    answer(server, service, DELIVERED[service])
    keys = [
        (await send(context, **target(server, service), text="x")).key
        for context in (
            make_context(attempt=1),
            make_context(attempt=2),
        )
    ]
    other = ActionContext("exec-1", "pb-1", "asset-1", "act-001.1", egress=make_context().egress)
    keys.append((await send(other, **target(server, service), text="x")).key)
    assert keys[0] == keys[1] != keys[2]


async def test_opsgenie_gets_an_alert(server: LocalServer, context: ActionContext) -> None:
    """Alias, priority and details; the key stands in the header alone; the request's id comes back."""
    answer(server, "opsgenie", GENIE_OK)
    output = await send(context, **FULL, **target(server, "opsgenie"), key="web-01/disk")
    request = server.received[0]
    assert request.headers["authorization"] == "GenieKey T0KEN"
    assert json.loads(request.body) == {
        "message": "Finding on web-01",
        "alias": "web-01/disk",
        "description": "Somebody <!channel> & more\nRun: https://stanchion.example/runs/1",
        "details": {"asset": "web-01", "score": "9.8", "exploited": "yes"},
        "source": "Stanchion",
        "priority": "P2",
    }
    assert output == NotifyOutput(service="opsgenie", status=202, id="43a29c5c", key="web-01/disk")


@pytest.mark.parametrize(("event", "verb"), [("acknowledge", "acknowledge"), ("resolve", "close")])
async def test_opsgenie_alerts_are_found_by_alias(
    server: LocalServer, context: ActionContext, event: str, verb: str
) -> None:
    """The alias is escaped into the path, whatever characters it has."""
    path = f"/v2/alerts/web-01%2Fdisk%20full/{verb}"
    server.answers[path] = GENIE_OK
    await send(context, **target(server, "opsgenie"), text="done", event=event, key="web-01/disk full")
    assert server.received[0].path == f"{path}?identifierType=alias"
    assert json.loads(server.received[0].body) == {"source": "Stanchion", "note": "done"}


async def test_a_webhook_gets_a_signed_message(server: LocalServer, context: ActionContext) -> None:
    """The signature is that of Standard Webhooks over the very bytes that were sent."""
    key = bytes(range(24))
    secret = f"whsec_{base64.b64encode(key).decode()}"
    message = await sent(server, context, "webhook", signing_secret=secret)
    request = server.received[0]
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{digest}"
    assert message["type"] == "stanchion.notification"
    assert message["data"]["fields"] == {"asset": "web-01", "score": 9.8, "exploited": True, "owner": None}
    assert message["data"]["execution_id"] == "exec-1"


async def test_a_webhook_can_tell_a_repeat(server: LocalServer) -> None:
    """Each attempt of a step has the same webhook-id."""
    answer(server, "webhook", DELIVERED["webhook"])
    for attempt in (1, 2):
        await send(make_context(attempt=attempt), **target(server, "webhook"), text="x")
    first, second = server.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert "webhook-signature" not in first.headers


async def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks libraries' own tests."""
    from activities.tell.webhook import _signature, signing_key

    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = _signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}


async def test_a_signing_secret_that_is_none_is_refused(server: LocalServer, context: ActionContext) -> None:
    """Nothing is sent unsigned because the secret was misspelt."""
    error = await failure(context, **target(server, "webhook"), text="x", signing_secret="whsec_not base64")
    assert (error.code, server.received) == ("invalid_input", [])


@pytest.mark.parametrize("service", DELIVERED)
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "refused", False),
        (401, "unauthorized", False),
        (403, "forbidden", False),
        (404, "not_found", False),
        (422, "refused", False),
        (500, "service_failed", True),
        (503, "service_failed", True),
    ],
)
async def test_a_refusal_has_its_code(
    server: LocalServer, context: ActionContext, service: str, status: int, code: str, retryable: bool
) -> None:
    """Whoever refuses, the code is the same and the service's words stand in the message."""
    answer(server, service, http_answer(status, b"because of this"))
    error = await failure(context, **target(server, service), text="x")
    assert (error.code, error.retryable) == (code, retryable)
    assert "because of this" in error.message


@pytest.mark.parametrize("service", DELIVERED)
async def test_a_rate_limit_is_retried_in_its_time(server: LocalServer, context: ActionContext, service: str) -> None:
    """429 with Retry-After is retryable after that time."""
    answer(server, service, http_answer(429, b"{}", retry_after="17"))
    error = await failure(context, **target(server, service), text="x")
    assert (error.code, error.retryable, error.retry_after) == ("rate_limited", True, 17.0)


@pytest.mark.parametrize("service", ["slack", "teams", "discord", "pagerduty", "opsgenie"])
async def test_a_login_page_has_delivered_nothing(server: LocalServer, context: ActionContext, service: str) -> None:
    """Status 200 from a proxy's page is no success."""
    answer(server, service, http_answer(200, b"<html>Please log in</html>", content_type="text/html"))
    assert (await failure(context, **target(server, service), text="x")).code == "bad_answer"


@pytest.mark.parametrize("service", ["slack", "teams", "discord", "webhook"])
async def test_no_error_shows_the_webhook(context: ActionContext, service: str) -> None:
    """The address of a webhook is a password, even when it was not given as a secret, and with a query too."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/services/T000/XXXX?sig=YYYY"
        error = await failure(context, service=service, url=url, text="x")
    assert error.code == "connect_failed"
    assert "XXXX" not in error.message
    assert "YYYY" not in error.message


@pytest.mark.parametrize("service", DELIVERED)
async def test_only_what_the_guard_permits_is_reached(server: LocalServer, service: str) -> None:
    """An address of the worker's own network is refused."""
    closed = ActionContext("exec-1", "pb-1", "asset-1", "act-001")
    error = await failure(closed, **target(server, service), text="x")
    assert (error.code, server.received) == ("egress_refused", [])


@pytest.mark.parametrize(
    "inputs",
    [
        {"service": "slack"},
        {"service": "pagerduty"},
        {"service": "opsgenie", "url": "https://api.eu.opsgenie.com"},
        {"service": "slack", "url": "https://h.example", "event": "resolve", "key": "k"},
        {"service": "pagerduty", "token": "t", "event": "resolve"},
        {"service": "smoke"},
        {"service": "webhook", "url": "https://h.example", "signing_secret": "plain"},
        {"service": "teams", "url": "https://h.example", "links": [{"text": "x", "url": "javascript:alert(1)"}]},
    ],
)
def test_what_does_not_fit_together_is_invalid(inputs: dict[str, object]) -> None:
    """What a service needs must be there, and what it has not must not."""
    with pytest.raises(ValidationError):
        NotifyInput.model_validate({"text": "x", **inputs})


@pytest.mark.parametrize(("given", "taken"), [("HIGH", "high"), ("warning", "medium"), ("none", "info"), (None, None)])
def test_words_for_a_severity_are_understood(given: str | None, taken: str | None) -> None:
    """Scanners and feeds spell them differently."""
    inputs = NotifyInput.model_validate(
        {"service": "slack", "url": "https://h.example", "text": "x", "severity": given}
    )
    assert inputs.severity == taken


def test_only_alerts_with_a_key_may_be_repeated() -> None:
    """A chat shows a message twice; and a service that is a template promises nothing."""
    repeatable = {name: Notify.traits({"service": name}).idempotent for name in (*DELIVERED, "{{ parameters.x }}")}
    assert [name for name, yes in repeatable.items() if yes] == ["pagerduty", "opsgenie"]


@pytest.mark.parametrize("service", DELIVERED)
async def test_the_rehearsal_sends_nothing_and_shows_no_key(server: LocalServer, stage: Stage, service: str) -> None:
    """It shows the message as the service would get it, the output that comes, and neither path nor token."""
    answer(server, service, DELIVERED[service])
    parameters = {**FULL, **target(server, service)}
    rehearsed = await stage.perform("notify.send", parameters, dry_run=True)
    assert server.received == []
    live = await stage.perform("notify.send", parameters)
    told = json.dumps([rehearsed.would, rehearsed.effects])
    assert "Finding on web-01" in told
    assert "XXXX" not in told
    assert "T0KEN" not in told
    predicted = {**rehearsed.output, "status": None, "id": None}
    assert predicted == {**live.output, "status": None, "id": None}


async def test_a_cancel_ends_a_hanging_service(server: LocalServer, context: ActionContext) -> None:
    """A service that never answers holds nobody up."""
    reached = asyncio.Event()

    async def hang(received: Received) -> bytes:
        reached.set()
        await asyncio.sleep(60)
        return b""

    server.answers["/hook/XXXX"] = hang
    task = asyncio.create_task(send(context, **target(server, "slack"), text="x"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)


async def test_a_bad_message_is_told_before_anything_is_sent(stage: Stage) -> None:
    """The runner names what is missing."""
    with pytest.raises(ApplicationError, match="pagerduty needs a token"):
        await stage.perform("notify.send", {"service": "pagerduty", "text": "x"})
