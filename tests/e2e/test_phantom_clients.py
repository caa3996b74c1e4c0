"""Clients of Splunk Phantom, unchanged, against `stanchion up --tls-self-signed`: curl, and two from PyPI."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.e2e.test_up import Up, up

TOKEN = "a+phantom/token="
LONG = {"action_ref": "core.sleep", "parameters": {"seconds": 60}}
ECHO = {"action_ref": "core.echo", "parameters": {"who": "{{ container.name }}", "n": "{{ size(artifacts) }}"}}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """An installation with a user `admin` and a token, over HTTPS with a certificate that nobody has signed."""
    names = {
        "STANCHION_PHANTOM_USER": "admin",
        "STANCHION_PHANTOM_PASSWORD": "changeme",
        "STANCHION_PHANTOM_TOKEN": TOKEN,
    }
    with up(tmp_path_factory.mktemp("phantom"), "--tls-self-signed", extra=names) as running:
        token = (running.folder / "admin-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=running.url, headers=headers, verify=False, trust_env=False) as http:
            for name, step in (("my_playbook", ECHO), ("a long one", LONG)):
                answer = http.post("/api/playbooks", json={"name": name, "steps": [step]})
                assert answer.status_code == 201, answer.text
        yield running


def curl(served: Up, line: str) -> Any:
    """What a command of the document prints; `https://localhost` is where the installation is."""
    port = urllib.parse.urlsplit(served.url).port
    text = line.replace("https://localhost", f"https://localhost:{port}")
    done = subprocess.run(
        ["sh", "-c", text], capture_output=True, text=True, check=True, env={**os.environ, "no_proxy": "*"}
    )
    return json.loads(done.stdout)


def test_the_commands_of_the_document(served: Up) -> None:
    """As they are printed there, but for the brace that the page has lost."""
    numbers = curl(
        served,
        "curl -k -u admin:changeme https://localhost/rest/container -d '"
        + json.dumps([{"name": f"container {n}", "artifacts": [{"cef": {"n": n}}]} for n in range(42)])
        + "'",
    )
    assert numbers[-1]["id"] == 42
    started = curl(
        served,
        """curl -k -u admin:changeme https://localhost/rest/playbook_run \\
-d '{
        "container_id": 42,
        "playbook_id": "my_playbook",
        "scope": "new",
        "run": true
}'""",
    )
    assert set(started) == {"playbook_run_id", "received"}
    assert started["received"] is True
    run = started["playbook_run_id"]
    assert isinstance(run, str)
    for _ in range(200):
        found = curl(served, f"curl -k -u admin:changeme https://localhost/rest/playbook_run/{run} -G -X GET")
        if found["status"] != "running":
            break
        time.sleep(0.1)
    assert (found["status"], found["container"], found["id"]) == ("success", 42, int(run))
    result = json.loads(found["message"])["result"][0]
    assert json.loads(result["app_runs"][0]["parameter"]) == {"who": "container 41", "n": 1}
    started = curl(
        served,
        "curl -k -u admin:changeme https://localhost/rest/playbook_run "
        """-d '{"container_id": 42, "playbook_id": "local/a long one", "run": true}'""",
    )
    cancelled = curl(
        served,
        f"""curl -k -u admin:changeme https://localhost/rest/playbook_run/{started["playbook_run_id"]} \\
-d '{{
    "cancel": true
}}'""",
    )
    assert cancelled["cancelled"] is True
    assert isinstance(cancelled["message"], str)
    refused = curl(
        served, """curl -k -u admin:changeme https://localhost/rest/playbook_run/9999 -d '{"cancel": true}'"""
    )
    assert refused["failed"] is True


def test_the_certificate_is_believed_by_our_own_command(served: Up) -> None:
    """`stanchion` trusts what `stanchion up` has made on this machine, and nothing else does."""
    done = served.command("playbook", "list", "--json")
    assert done.returncode == 0, done.stderr
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{served.url}/readyz", trust_env=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by", ["token", "password"])
def test_soarsdk(served: Up, by: str) -> None:
    """Creates a container with an artifact, runs a playbook to its end, reads everything, cancels, deletes.

    It is given a session, since logging in by itself it loses its own (``connect`` of 1.0.1 sets it to None).
    """
    import requests
    from soarsdk.client import PhantomClient
    from soarsdk.objects import Artifact, Container, Note, Playbook

    session = requests.Session()
    session.trust_env = session.verify = False
    if by == "token":
        session.headers["ph-auth-token"] = TOKEN
    else:
        session.auth = ("admin", "changeme")
    client = PhantomClient(served.url, verify=False, session=session)
    container = Container(name="from soarsdk", label="events", tags=["a"])
    container.add_artifact(Artifact(name="an address", label="event", cef={"sourceAddress": "10.0.0.1"}))
    client.create_container(container)
    assert isinstance(container.id, int)
    assert [artifact.cef for artifact in container.artifacts] == [{"sourceAddress": "10.0.0.1"}]
    client.add_comment(container, "seen")
    client.create_note(container, Note(title="a note", content="words"))
    playbook = Playbook(name="local/my_playbook")
    container.add_playbooks(playbook)
    client.run_playbooks(container)
    done = container.get_playbook(name="my_playbook")
    assert done.status == "success"
    assert [action.name for action in done.actions] == ["act-001"]
    assert done.actions[0].result_data[0]["data"] == [{"who": "from soarsdk", "n": 1}]
    assert container.comments[-1] == "seen"
    assert [note.title for note in container.notes] == ["a note"]
    number = client.get_playbook_id_from_name("my_playbook")
    client.set_playbook_active(False, number)
    assert client.get_playbooks({"_filter_active": False})[0].name == "my_playbook"
    client.set_playbook_active(True, number)
    client.modify_container_values(container)
    run = client._handle_request("POST", "playbook_run", json={
        "container_id": container.id, "playbook_id": "a long one", "run": True})["playbook_run_id"]  # fmt: skip
    assert client._handle_request("POST", f"playbook_run/{run}", json={"cancel": True})["cancelled"] is True
    if by == "token":
        session.headers.pop("ph-auth-token")
        session.auth = ("admin", "changeme")  # Phantom deletes for users only
    client.delete_artifact(container.artifacts[0])
    client.delete_container(container)
    assert client.get_containers({"_filter_name": "from soarsdk"}) == []


@pytest.mark.filterwarnings("ignore")
async def test_splunk_soar_mcp(served: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tools, as a model calls them: container, artifact, run, poll, log, action runs; a token deletes nothing."""
    from splunk_soar_mcp.server import build_server

    for name, value in {
        "SPLUNK_SOAR_URL": served.url, "SPLUNK_SOAR_API": TOKEN, "SOAR_MCP_MODE": "full",
        "SOAR_MCP_VERIFY_SSL": "false", "no_proxy": "*",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    server = build_server()

    async def call(tool: str, **arguments: Any) -> str:
        answer = await server.call_tool(tool, arguments)
        content = getattr(answer, "content", answer)
        while isinstance(content, (list, tuple)):
            content = content[0]
        text: str = content.text
        return text

    made = await call("soar_create_container", name="from mcp", label="events", severity="high")
    container = json.loads(made.removeprefix("Container created: "))["id"]
    await call("soar_add_artifact", container_id=container, name="an address", cef={"sourceAddress": "10.0.0.2"})
    assert "an address" in await call("soar_list_artifacts", container_id=container)
    started = await call("soar_run_playbook", playbook_ref="my_play", container_id=container)
    run = int(json.loads(started.partition("\n")[2])["playbook_run_id"])
    async with asyncio.timeout(60):
        while json.loads(await call("soar_get_playbook_run", run_id=run))["status"] == "running":
            await asyncio.sleep(0.1)
    assert json.loads(await call("soar_get_playbook_run", run_id=run))["status"] == "success"
    assert "success" in await call("soar_list_playbook_runs", container_id=container, status="success")
    assert "core.echo" in await call("soar_list_action_runs", playbook_run_id=run, action="ECHO")
    assert "executing on container" in await call("soar_get_playbook_run_log", run_id=run)
    await call("soar_add_comment", container_id=container, comment="seen")
    assert "seen" in await call("soar_list_comments", container_id=container)
    await call("soar_add_note", container_id=container, title="a note", content="words")
    assert "words" in await call("soar_list_notes", container_id=container)
    await call("soar_update_container", container_id=container, status="closed", owner="admin")
    assert "from mcp" in await call("soar_list_containers", query="FROM", label="events", status="closed")
    assert "my_playbook" in await call("soar_get_playbook", playbook_ref="my_playbook")
    with pytest.raises(Exception, match="a token may not delete"):
        await call("soar_delete_container", container_id=container, confirm_name="from mcp")
