"""Secrets: filled in on the worker, and nowhere to be seen afterwards."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any
from urllib.parse import quote_plus

import pytest
from temporalio.exceptions import ApplicationError

from activities.scrub import Scrubber, end_of, excerpt_of, scrub_logs, scrubbing
from activities.secrets import EnvironmentSecrets, fill_in, variable_name
from playbooks.contract import SecretPart, SecretSlot
from tests.unit.activities.action_support import LocalServer, Stage, http_answer, make_stage

VALUE = 'p@ss/word+"ä"'


def slot(pointer: str, *parts: dict[str, str]) -> SecretSlot:
    return SecretSlot(pointer=pointer, parts=[SecretPart(**part) for part in parts])


@pytest.fixture
def keeper() -> Stage:
    """A worker that has one secret, ``api-key``."""
    return make_stage(environment={"STANCHION_SECRET_API_KEY": VALUE})


def test_the_variable_of_a_name() -> None:
    """Dashes and dots become underscores, letters upper case."""
    assert variable_name("slack.webhook-url") == "STANCHION_SECRET_SLACK_WEBHOOK_URL"


async def test_an_unknown_secret_fails_for_good(stage: Stage) -> None:
    """The error names the secret and the variable to set."""
    with pytest.raises(ApplicationError, match="STANCHION_SECRET_API_KEY is not set") as raised:
        await stage.perform("core.echo", {"k": "***"}, secrets=[slot("/k", {"secret": "api-key"})])
    assert (raised.value.type, raised.value.details[0]["retryable"]) == ("unknown_secret", False)


async def test_an_empty_secret_is_no_secret() -> None:
    """An empty variable is most often a mistake of the installation."""
    stage = make_stage(environment={"STANCHION_SECRET_API_KEY": ""})
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("core.echo", {"k": "***"}, secrets=[slot("/k", {"secret": "api-key"})])
    assert raised.value.type == "unknown_secret"


def test_slots_are_filled_by_pointer() -> None:
    """Text and secrets are joined at the place, also in lists and behind escaped tokens (RFC 6901)."""
    parameters = {"headers": {"a/b~c": "Bearer ***"}, "list": ["x", "***"]}
    slots = [slot("/headers/a~1b~0c", {"text": "Bearer "}, {"secret": "k"}), slot("/list/1", {"secret": "k"})]
    filled = fill_in(parameters, slots, {"k": "v"})
    assert filled == {"headers": {"a/b~c": "Bearer v"}, "list": ["x", "v"]}


async def test_a_secret_reaches_the_action(keeper: Stage, server: LocalServer) -> None:
    """The other side receives the value itself."""
    server.answers["/"] = http_answer(204)
    keyed = make_stage(environment={"STANCHION_SECRET_KEY": "tok-123456"})
    await keyed.perform(
        "http.request",
        {"url": server.url, "headers": {"Authorization": "***"}},
        secrets=[slot("/headers/Authorization", {"text": "Bearer "}, {"secret": "key"})],
    )
    assert server.received[0].headers["authorization"] == "Bearer tok-123456"


async def test_a_secret_is_masked_in_the_output(keeper: Stage) -> None:
    """What an action gives back of it reads ***."""
    result = await keeper.perform(
        "core.echo", {"k": "***", "n": 1}, secrets=[slot("/k", {"text": "key="}, {"secret": "api-key"})]
    )
    assert result.output == {"k": "key=***", "n": 1}


async def test_a_secret_is_masked_in_an_error(keeper: Stage) -> None:
    """Neither message nor details show it."""
    with pytest.raises(ApplicationError) as raised:
        await keeper.perform(
            "core.fail", {"message": "***"}, secrets=[slot("/message", {"text": "bad key "}, {"secret": "api-key"})]
        )
    assert raised.value.message == "bad key ***"


async def test_a_secret_is_masked_in_a_rehearsal(keeper: Stage) -> None:
    """Sentence and effects of a dry run do not show it either."""
    result = await keeper.perform(
        "http.request",
        {"method": "POST", "url": "***"},
        secrets=[slot("/url", {"text": "https://example.com/"}, {"secret": "api-key"})],
        dry_run=True,
    )
    assert "word" not in result.model_dump_json()
    assert "***" in str(result.would)


async def test_invalid_input_does_not_show_a_secret(keeper: Stage) -> None:
    """A parameter that is refused is named, not quoted."""
    with pytest.raises(ApplicationError) as raised:
        await keeper.perform("core.sleep", {"seconds": "***"}, secrets=[slot("/seconds", {"secret": "api-key"})])
    assert raised.value.type == "invalid_input"
    assert VALUE not in repr((raised.value.message, raised.value.details))


async def test_a_secret_is_masked_in_logs_of_any_library(server: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    """Where an operator asks the HTTP client for its log of addresses, a token in one does not stand there."""
    caplog.set_level(logging.INFO, logger="httpx2")
    server.answers["/hook/tok-123456"] = http_answer(200, b"ok")
    keyed = make_stage(environment={"STANCHION_SECRET_KEY": "tok-123456"})
    with caplog.at_level(logging.DEBUG):
        await keyed.perform(
            "notify.slack",
            {"webhook_url": "***", "text": "hello"},
            secrets=[slot("/webhook_url", {"text": f"{server.url}/hook/"}, {"secret": "key"})],
        )
    assert server.received[0].path == "/hook/tok-123456"
    assert "/hook/***" in caplog.text
    assert "tok-123456" not in caplog.text


async def test_an_address_is_not_logged_unasked(server: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    """A webhook that was not given as a secret stands in no log either."""
    server.answers["/hook/XXXX"] = http_answer(200, b"ok")
    caplog.set_level(logging.INFO)
    await make_stage().perform("notify.slack", {"webhook_url": f"{server.url}/hook/XXXX", "text": "hello"})
    assert "XXXX" not in caplog.text


def encodings(value: str) -> list[str]:
    raw = value.encode()
    return [
        value,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(b"user:" + raw).decode(),
        base64.b64encode(b"me:" + raw + b"@").decode(),
        quote_plus(value),
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
        raw.hex(),
    ]


@pytest.mark.parametrize("form", encodings(VALUE))
def test_each_encoding_of_a_secret_is_masked(form: str) -> None:
    """A secret is hidden in base64 (at any offset), URL-encoded, JSON-escaped and in hex."""
    scrubbed = Scrubber([VALUE]).text(f"<{form}>")
    assert "***" in scrubbed
    # What is left of the secret's own characters is less than one base64 group at each end.
    assert len(scrubbed) <= len("<dXNlcj***>") + 8


def test_keys_and_numbers_are_masked_too() -> None:
    """A secret number parsed from JSON, or a secret as a key, is as secret."""
    value: Any = {"1234567": 1, "pin": 1234567, "list": [True, 1234567.5]}
    assert Scrubber(["1234567"]).value(value) == {"***": 1, "pin": "***", "list": [True, 1234567.5]}


def test_a_line_of_a_key_is_masked() -> None:
    """A program that quotes one line of a private key does not give it away."""
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END KEY-----\n"
    assert "MIIEvQIBADANBgkqhkiG" not in Scrubber([key]).text("error near MIIEvQIBADANBgkqhkiG")


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    """One secret that contains another leaves no rest."""
    assert Scrubber(["abcd", "abcdefgh"]).text("x abcdefgh abcd") == "x *** ***"


def test_without_secrets_nothing_changes() -> None:
    """No secret, no mask."""
    assert Scrubber().value({"a": "b"}) == {"a": "b"}


def test_a_traceback_in_a_log_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    """The traceback of an exception that quotes a secret is logged without it."""
    scrub_logs()
    with scrubbing(Scrubber(["tok-123456"])):
        try:
            raise ValueError("bad tok-123456")
        except ValueError:
            logging.getLogger("some.library").exception("failed for %s", "tok-123456")
    assert "tok-123456" not in caplog.text
    assert "ValueError: bad ***" in caplog.text


def test_a_log_record_with_wrong_arguments_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Scrubbing never makes a logging call raise."""
    scrub_logs()
    with scrubbing(Scrubber(["tok-123456"])):
        logging.getLogger("some.library").warning("%d of %s", "tok-123456")
    assert "tok-123456" not in caplog.text


async def test_the_environment_is_read_when_the_step_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment is the default source."""
    monkeypatch.setenv("STANCHION_SECRET_LATE", "v")
    assert await EnvironmentSecrets().find("late") == "v"


@pytest.mark.parametrize("text", ["failed: s3cret-va", "failed: s3cret-va…", "s3cret-va\n[cut after 9 bytes]"])
def test_the_beginning_of_a_secret_at_a_cut_is_masked(text: str) -> None:
    """A text that was cut inside of a secret does not show its first half, nor one that begins in it the last."""
    scrubber = Scrubber(["s3cret-value-of-many-characters"])
    assert "s3cret" not in scrubber.text(text)
    assert scrubber.text("y-characters: no such user") == "***: no such user"


def test_a_word_that_a_secret_begins_with_is_left_alone() -> None:
    """Only where a text ends or begins it may have been cut."""
    text = "https://hooks.example.com/ was asked, then https://other.example.com/"
    assert Scrubber(["https://hooks.example.net/T0K3N"]).text(text) == text


def test_a_message_is_masked_before_it_is_cut() -> None:
    """An excerpt shows nothing of a secret, wherever the cut is."""
    with scrubbing(Scrubber(["s3cret-value"])):
        for length in range(1, 20):
            assert "s3" not in excerpt_of("no: s3cret-value", length)
            assert "lue" not in end_of("s3cret-value: no", length)
