"""The receiver of the demo."""

from __future__ import annotations

import httpx2
import pytest

from cli.received import Received
from cli.receiver import TICKET_TOKEN, Receiver, reply


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


def test_tickets_are_kept_and_found() -> None:
    """As GitLab does: opened with a token, listed newest first, found by their text."""
    place = "/api/v4/projects/security%2Fincidents/issues"
    headers = {"Authorization": f"Bearer {TICKET_TOKEN}"}
    with Receiver() as receiver, httpx2.Client(base_url=receiver.url, trust_env=False) as http:
        assert http.get(place).status_code == 401
        assert http.post(place, json={}, headers=headers).status_code == 400
        for title in ("one", "two"):
            made = http.post(place, json={"title": title, "description": f"mark-{title}"}, headers=headers)
            assert made.status_code == 201
        assert [one["title"] for one in http.get(place, headers=headers).json()] == ["two", "one"]
        assert [one["iid"] for one in http.get(f"{place}?search=mark-one", headers=headers).json()] == [1]
        assert http.get(f"{place}/2", headers=headers).json()["title"] == "two"
        assert http.get(f"{place}/3", headers=headers).status_code == 404
