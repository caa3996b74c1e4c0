"""The guide's *Endpoint*: path parameter, required headers, request payload, parameters object."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.seed.document import ASSET, PARAMETERS_OBJECT, PLAYBOOK
from tests.stack import TOKEN, Stack, states

pytestmark = pytest.mark.asyncio(loop_scope="session")

ECHO = {"action_ref": "core.echo", "parameters": {"host": "{{ asset.name }}", "given": "{{ parameters }}"}}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def fault_paths(answer: Any) -> set[str]:
    """Where the faults of a refused request are."""
    return {detail["path"] for detail in answer.json()["error"]["details"]}


async def test_path_playbook_id(shared: Stack) -> None:
    """Path parameter `playbook_id`: UUID of the playbook to execute; the one that it names is run, and no other."""
    first, second = await shared.playbook([ECHO]), await shared.playbook([ECHO])
    assert re.fullmatch(f"pb-{UUID}", second["id"])
    answer = await shared.post_run(second["id"], (await shared.asset())["id"])
    assert answer.json()["playbook_id"] == second["id"] != first["id"]
    await shared.finish(answer.json()["execution_id"])


async def test_header_authorization(shared: Stack) -> None:
    """Header `Authorization`: `Bearer <token>`, your API authentication token, is all that a caller needs."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    made = await shared.http.post("/api/tokens", json={"name": "caller", "permissions": ["playbook:execute"]})
    del shared.http.headers["Authorization"]
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    answer = await shared.post_run(playbook["id"], asset["id"], headers=headers)
    assert answer.status_code == 202
    shared.http.headers["Authorization"] = f"Bearer {TOKEN}"
    await shared.finish(answer.json()["execution_id"])


async def test_header_authorization_is_required(shared: Stack) -> None:
    """Header `Authorization` is required: without it nothing is run."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    del shared.http.headers["Authorization"]
    assert (await shared.post_run(playbook["id"], asset["id"])).status_code == 401


async def test_header_content_type(shared: Stack) -> None:
    """Header `Content-Type`: `application/json` is the format of the request body."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    content = json.dumps({"target_asset_id": asset["id"]}).encode()
    url = f"/api/playbooks/{playbook['id']}/run"
    answer = await shared.http.post(url, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 202
    await shared.finish(answer.json()["execution_id"])
    answer = await shared.http.post(url, content=content, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


async def test_target_asset_id(shared: Stack) -> None:
    """Field `target_asset_id`: UUID of the asset the playbook will operate on."""
    playbook = await shared.playbook([ECHO])
    asset = await shared.asset(name="db-07")
    assert re.fullmatch(UUID, asset["id"])
    answer = await shared.post_run(playbook["id"], asset["id"])
    status = await shared.finish(answer.json()["execution_id"])
    assert (status["target_asset_id"], status["steps"][0]["output"]["host"]) == (asset["id"], "db-07")


async def test_target_asset_id_is_required(shared: Stack) -> None:
    """Field `target_asset_id`: required, Yes; a body without it is refused and the field named."""
    playbook = await shared.playbook([ECHO])
    answer = await shared.http.post(f"/api/playbooks/{playbook['id']}/run", json={"parameters": {}})
    assert (answer.status_code, fault_paths(answer)) == (400, {"/target_asset_id"})


@pytest.mark.parametrize("value", [None, 7, True, ["a"], {"id": "a"}, ""])
async def test_target_asset_id_is_a_string(shared: Stack, value: Any) -> None:
    """Field `target_asset_id`: type string."""
    playbook = await shared.playbook([ECHO])
    answer = await shared.http.post(f"/api/playbooks/{playbook['id']}/run", json={"target_asset_id": value})
    assert (answer.status_code, fault_paths(answer)) == (400, {"/target_asset_id"})


async def test_parameters(shared: Stack) -> None:
    """Field `parameters`: key-value pairs passed to the playbook as runtime variables."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    given = {"text": "a", "number": 1.5, "flag": True, "nothing": None, "list": [1, {"a": "b"}]}
    answer = await shared.post_run(playbook["id"], asset["id"], parameters=given)
    status = await shared.finish(answer.json()["execution_id"])
    assert (status["parameters"], status["steps"][0]["output"]["given"]) == (given, given)


async def test_parameters_are_optional(shared: Stack) -> None:
    """Field `parameters`: required, No; without it the playbook runs on its own defaults."""
    schema = {"type": "object", "properties": {"channel": {"type": "string", "default": "#ops"}}}
    playbook, asset = await shared.playbook([ECHO], parameters=schema), await shared.asset()
    answer = await shared.post_run(playbook["id"], asset["id"])
    assert answer.status_code == 202
    assert (await shared.finish(answer.json()["execution_id"]))["parameters"] == {"channel": "#ops"}


@pytest.mark.parametrize("value", [None, "a=1", 7, False, [{"name": "a", "value": 1}]])
async def test_parameters_are_an_object(shared: Stack, value: Any) -> None:
    """Field `parameters`: type object."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    answer = await shared.post_run(playbook["id"], asset["id"], parameters=value)
    assert (answer.status_code, fault_paths(answer)) == (400, {"/parameters"})


@pytest.mark.parametrize(("body", "lines"), [({"dry_run": True}, 0), ({"dry_run": False}, 1), ({}, 1)])
async def test_dry_run(shared: Stack, tmp_path: Path, body: dict[str, bool], lines: int) -> None:
    """Field `dry_run`: not required; when true, all steps are simulated without side effects. Default `false`."""
    file = tmp_path / "effects"
    steps = [{"action_ref": "test.append", "parameters": {"path": str(file)}}]
    playbook, asset = await shared.playbook(steps), await shared.asset()
    answer = await shared.post_run(playbook["id"], asset["id"], **body)
    assert answer.json()["dry_run"] is body.get("dry_run", False)
    assert (await shared.finish(answer.json()["execution_id"]))["status"] == "completed"
    assert (file.read_text().count("\n") if file.exists() else 0) == lines


@pytest.mark.parametrize("value", [None, "true", 1, [True]])
async def test_dry_run_is_a_boolean(shared: Stack, value: Any) -> None:
    """Field `dry_run`: type boolean; nothing else is taken for one, lest a rehearsal be meant and a run be made."""
    playbook, asset = await shared.playbook([ECHO]), await shared.asset()
    answer = await shared.post_run(playbook["id"], asset["id"], dry_run=value)
    assert (answer.status_code, fault_paths(answer)) == (400, {"/dry_run"})


async def test_available_keys_depend_on_the_playbook(guide: Stack) -> None:
    """*Parameters Object*: `GET /api/playbooks/{playbook_id}` has the schema of accepted parameters."""
    schema = (await guide.http.get(f"/api/playbooks/{PLAYBOOK}")).json()["parameters"]
    types = {name: part["type"] for name, part in schema["properties"].items()}
    assert schema["type"] == "object"
    assert types == {
        "notify_channel": "string",
        "patch_version": "string",
        "rollback_enabled": "boolean",
        "auto_assign": "boolean",
    }
    other = await guide.playbook([ECHO], parameters=[{"name": "ticket", "type": "integer"}])
    schema = (await guide.http.get(f"/api/playbooks/{other['id']}")).json()["parameters"]
    assert set(schema["properties"]) == {"ticket"}


async def test_the_schema_is_the_one_that_a_run_is_held_to(shared: Stack) -> None:
    """*Parameters Object*: what the schema of the playbook's detail refuses, a run refuses."""
    schema = {"type": "object", "properties": {"patch_version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"}}}
    playbook, asset = await shared.playbook([ECHO], parameters=schema), await shared.asset()
    told = (await shared.http.get(f"/api/playbooks/{playbook['id']}")).json()["parameters"]
    assert told["properties"]["patch_version"]["pattern"] == r"^\d+\.\d+\.\d+$"
    answer = await shared.post_run(playbook["id"], asset["id"], parameters={"patch_version": "latest"})
    assert (answer.status_code, fault_paths(answer)) == (422, {"/parameters/patch_version"})


async def test_the_example_body(guide: Stack) -> None:
    """*Parameters Object*: the example, letter by letter, runs the playbook for real, with its three parameters."""
    answer = await guide.http.post(
        f"/api/playbooks/{PLAYBOOK}/run",
        content=PARAMETERS_OBJECT.encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 202, answer.text
    status = await guide.finish(answer.json()["execution_id"])
    assert (status["status"], status["target_asset_id"], status["dry_run"]) == ("completed", ASSET, False)
    assert status["parameters"].items() >= json.loads(PARAMETERS_OBJECT)["parameters"].items()


async def test_tip_a_rehearsal_validates_every_step(shared: Stack, tmp_path: Path) -> None:
    """Tip: the dry-run execution validates every step and reports what would happen without making any changes."""
    steps = [
        {"name": "Write", "action_ref": "test.append", "parameters": {"path": str(tmp_path / "effects")}},
        {"name": "Wait", "type": "delay", "duration": "1h"},
        {"name": "Script", "action_ref": "script.run", "parameters": {"script": "echo {{ asset.name }}"}},
    ]
    status = await shared.finish(await shared.start(steps, run={"dry_run": True}))
    assert states(status) == ["completed"] * 3
    assert all(step["would"] for step in status["steps"])
    assert not (tmp_path / "effects").exists()


async def test_tip_a_rehearsal_finds_a_step_that_cannot_work(shared: Stack) -> None:
    """Tip: the dry-run execution validates every step; one whose parameters make no sense fails there already."""
    steps = [{"action_ref": "core.sleep", "parameters": {"seconds": "{{ parameters.seconds }}"}}]
    status = await shared.finish(await shared.start(steps, run={"dry_run": True, "parameters": {"seconds": -1}}))
    assert (status["status"], status["steps"][0]["error"]["code"]) == ("failed", "invalid_input")
