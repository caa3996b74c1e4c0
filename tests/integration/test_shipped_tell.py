"""The shipped playbooks tell whom they should: chats, tickets and mail, each a real server on this machine."""

from __future__ import annotations

import asyncio
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.mail_server import PASSWORD, USER, mail_server
from tests.stack import Stack, running_stack, stack_settings
from tests.ticket_services import SITES, TOKEN, GitHubSite, text_of, ticket_site
from tests.unit.activities.action_support import LocalServer, http_answer, make_certificate


async def run(stack: Stack, name: str, parameters: dict[str, Any], **body: Any) -> dict[str, Any]:
    """Stores the shipped playbook and an asset, runs it, and returns how it ended."""
    definition = files("playbooks.library").joinpath(f"{name}.yaml").read_bytes()
    stored = await stack.http.post("/api/playbooks", content=definition, headers={"content-type": "application/yaml"})
    assert stored.status_code in (201, 409), stored.text
    asset = await stack.asset(ip="192.0.2.10")
    started = await stack.post_run(name, asset["id"], parameters=parameters, **body)
    assert started.status_code == 202, started.text
    return await stack.finish(started.json()["execution_id"])


def step(status: dict[str, Any], name: str) -> dict[str, Any]:
    """The step of that name."""
    found: dict[str, Any] = next(one for one in status["steps"] if one["name"] == name)
    return found


@pytest.mark.parametrize("service", SITES)
async def test_a_triage_tells_the_chat_and_opens_a_ticket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    """With each ticket service; rehearsed first, which asks none of them anything."""
    monkeypatch.setenv("STANCHION_SECRET_TICKET_TOKEN", TOKEN)
    chat = LocalServer(answers={"/hook": http_answer(200, b"ok")})
    listening = await asyncio.start_server(chat.serve, "127.0.0.1", 0)
    chat.port = listening.sockets[0].getsockname()[1]
    async with ticket_site(service) as site, running_stack(stack_settings(tmp_path)) as stack:
        parameters = {
            "notify_channel": "#incident-response",
            "auto_assign": True,
            "webhook_url": f"{chat.url}/hook",
            "ticket_service": service,
            "ticket_project": site.project,
            "ticket_url": site.url,
            "ticket_user": site.target.get("user", ""),
            "on_call": "ada",
        }
        rehearsed = await run(stack, "incident-triage", parameters, dry_run=True)
        assert (rehearsed["status"], chat.received, site.asked) == ("completed", [], [])
        live = await run(stack, "incident-triage", parameters)
    listening.close()
    assert live["status"] == "completed", live
    assert step(live, "Open ticket")["status"] == "completed", live
    (message,) = [json.loads(one.body) for one in chat.received]
    assert message["channel"] == "#incident-response"
    assert "finding on web-01" in message["text"]
    (issue,) = site.issues
    text = issue.get("body") or issue.get("description") or issue["fields"]["description"]
    assert "Asset: web-01, host" in text_of(text)
    if isinstance(site, GitHubSite):
        assert (issue["labels"], issue["assignees"]) == (["security", "severity-high"], ["ada"])
    assert live["outputs"]["ticket_id"] == step(live, "Open ticket")["output"]["id"]
    told = {one["name"]: one["status"] for one in rehearsed["steps"]}
    assert told == {one["name"]: one["status"] for one in live["steps"]}


async def test_a_triage_without_services_tells_nobody(tmp_path: Path) -> None:
    """As it comes: no chat, no ticket, no secret that would have to be there."""
    async with running_stack(stack_settings(tmp_path)) as stack:
        live = await run(stack, "incident-triage", {})
    assert live["status"] == "completed"
    assert [step(live, name)["status"] for name in ("Notify on-call", "Open ticket")] == ["skipped", "skipped"]


@pytest.mark.parametrize("login", [True, False])
async def test_a_compliance_check_mails_the_stakeholders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: bool
) -> None:
    """By STARTTLS and a login, or by a relay that wants none; rehearsed first, which connects to nothing."""
    certificate = make_certificate(tmp_path)
    if login:
        monkeypatch.setenv("STANCHION_SECRET_MAIL_PASSWORD", PASSWORD)
    parameters: dict[str, Any] = {
        "stakeholders": ["ada@example.com", "bob@example.com"],
        "mail_host": "127.0.0.1",
        "mail_ca": certificate.file.read_text(),
        "mail_user": USER if login else "",
    }
    async with mail_server(certificate.server_context, login=login) as server:
        parameters["mail_port"] = server.port
        async with running_stack(stack_settings(tmp_path)) as stack:
            rehearsed = await run(stack, "compliance-check", parameters, dry_run=True)
            assert (rehearsed["status"], server.connections) == ("completed", 0)
            live = await run(stack, "compliance-check", parameters)
    assert live["status"] == "completed", live
    sent, other = ("Email stakeholders", "Email stakeholders without a login")[:: 1 if login else -1]
    assert (step(live, sent)["status"], step(live, other)["status"]) == ("completed", "skipped"), live
    (taken,) = server.taken
    assert (taken.recipients, taken.tls, taken.user) == (parameters["stakeholders"], True, USER if login else None)
    assert taken.message["Subject"] == "Compliance of web-01"
    (attached,) = taken.message.iter_attachments()
    assert attached.get_filename() == step(live, "Write the report")["output"]["name"]
    assert "Compliance of web-01" in attached.get_payload(decode=True).decode()
    assert step(rehearsed, sent)["output"]["message_id"] != step(live, sent)["output"]["message_id"]
    assert PASSWORD not in json.dumps(live)
