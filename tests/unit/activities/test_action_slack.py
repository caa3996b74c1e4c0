"""``notify.slack`` against a real receiver."""

from __future__ import annotations

import json
import socket

import pytest

from activities.action import ActionContext, ActionError
from activities.slack import SlackInput, SlackMessage, SlackOutput
from tests.unit.activities.action_support import LocalServer, Stage, http_answer


async def post(context: ActionContext, **inputs: object) -> SlackOutput:
    return await SlackMessage().run(SlackInput.model_validate(inputs), context)


async def failure(context: ActionContext, **inputs: object) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await post(context, **inputs)
    return raised.value


async def test_a_message_is_posted(server: LocalServer, context: ActionContext) -> None:
    """Slack receives the fields that are set, as JSON, and its ok is the output."""
    server.answers["/hook"] = http_answer(200, b"ok")
    blocks = [{"type": "divider"}]
    output = await post(context, webhook_url=f"{server.url}/hook", text="hé", channel="#ops", blocks=blocks)
    received = server.received[0]
    assert json.loads(received.body) == {"text": "hé", "channel": "#ops", "blocks": blocks}
    assert (received.method, received.headers["content-type"]) == ("POST", "application/json; charset=utf-8")
    assert output == SlackOutput(status=200, answer="ok")


async def test_too_many_messages_may_be_retried(server: LocalServer, context: ActionContext) -> None:
    """429 is retryable, after the time that Slack asks for."""
    server.answers["/hook"] = http_answer(429, b"slow down", retry_after="30")
    error = await failure(context, webhook_url=f"{server.url}/hook", text="x")
    assert (error.code, error.retryable, error.retry_after) == ("rate_limited", True, 30.0)


@pytest.mark.parametrize(
    ("status", "answer", "retryable"),
    [
        (400, b"invalid_payload", False),
        (403, b"action_prohibited", False),
        (404, b"no_service", False),
        (500, b"?", True),
    ],
)
async def test_a_refusal_is_told(
    server: LocalServer, context: ActionContext, status: int, answer: bytes, retryable: bool
) -> None:
    """Slack's own word for it stands in the error."""
    server.answers["/hook"] = http_answer(status, answer)
    error = await failure(context, webhook_url=f"{server.url}/hook", text="x")
    assert (error.code, error.retryable) == ("slack_refused", retryable)
    assert answer.decode() in error.message


async def test_an_answer_that_is_not_ok_is_a_refusal(server: LocalServer, context: ActionContext) -> None:
    """A login page with status 200 has not delivered the message."""
    server.answers["/hook"] = http_answer(200, b"<html>Please log in</html>")
    assert (await failure(context, webhook_url=f"{server.url}/hook", text="x")).code == "slack_refused"


async def test_a_redirect_is_not_followed(server: LocalServer, context: ActionContext) -> None:
    """A webhook that moved is not chased; the message would arrive as a GET."""
    server.answers["/hook"] = http_answer(302, location="/other")
    assert (await failure(context, webhook_url=f"{server.url}/hook", text="x")).code == "slack_refused"
    assert len(server.received) == 1


async def test_no_error_shows_the_webhook(context: ActionContext) -> None:
    """The address of a webhook is a password, even when it was not given as a secret."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/services/T000/B000/XXXX"
        error = await failure(context, webhook_url=url, text="x")
    assert error.code == "connect_failed"
    assert "XXXX" not in error.message


async def test_the_rehearsal_shows_the_message(server: LocalServer, stage: Stage) -> None:
    """Nothing is sent; the message is shown, the webhook's path is not."""
    server.answers["/hook/XXXX"] = http_answer(200, b"ok")
    result = await stage.perform(
        "notify.slack", {"webhook_url": f"{server.url}/hook/XXXX", "text": "hello", "channel": "#ops"}, dry_run=True
    )
    assert result.would == "Would post to #ops through the webhook at 127.0.0.1: hello"
    assert result.effects == [
        {
            "kind": "message",
            "service": "slack",
            "host": "127.0.0.1",
            "message": {"text": "hello", "channel": "#ops"},
        }
    ]
    assert result.output == {"status": 200, "answer": "ok"}
    assert server.received == []
