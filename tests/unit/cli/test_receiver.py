"""The receiver of the demo."""

from __future__ import annotations

import httpx2
import pytest

from cli.receiver import Received, Receiver, reply


def test_records_what_came() -> None:
    """Method, path and decoded body of each request are kept, in order."""
    with Receiver() as receiver:
        httpx2.post(f"{receiver.url}/slack", json={"text": "hello"}, trust_env=False)
        httpx2.get(f"{receiver.url}/intel?host=web-01", trust_env=False)
        assert receiver.received() == [
            Received("POST", "/slack", {"text": "hello"}),
            Received("GET", "/intel?host=web-01", None),
        ]


def test_clear_forgets() -> None:
    """After clear() nothing is left of what came before."""
    with Receiver() as receiver:
        httpx2.get(f"{receiver.url}/intel", trust_env=False)
        receiver.clear()
        assert receiver.received() == []


def test_webhook_answers_ok_as_text() -> None:
    """The incoming webhook answers as Slack's does."""
    with Receiver() as receiver:
        assert httpx2.post(f"{receiver.url}/slack", json={}, trust_env=False).text == "ok"


@pytest.mark.parametrize(("method", "changes"), [("GET", False), ("HEAD", False), ("POST", True), ("DELETE", True)])
def test_reading_changes_nothing(method: str, changes: bool) -> None:
    """Only GET and HEAD count as reading."""
    assert Received(method, "/", None).changes is changes


def test_unknown_place_is_not_found() -> None:
    """A playbook that talks to the wrong place fails, and is not fooled."""
    assert reply("POST", "/elsewhere", None)[0] == 404
