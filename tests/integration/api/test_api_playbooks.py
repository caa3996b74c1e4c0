"""Playbooks over HTTP: stored, listed, read, replaced, deleted, and their revisions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from storage import executions
from storage.executions import NewExecution

Define = Callable[..., dict[str, Any]]

YAML = b"""\
name: Say hello
tags: [greeting]
steps:
  - name: Say it
    action_ref: core.echo
    parameters: {text: hello}
"""


async def store(api: httpx2.AsyncClient, definition: dict[str, Any]) -> dict[str, Any]:
    """The stored playbook."""
    answer = await api.post("/api/playbooks", json=definition)
    assert answer.status_code == 201, answer.text
    stored: dict[str, Any] = answer.json()
    return stored


async def test_create(api: httpx2.AsyncClient, definition: Define) -> None:
    """A stored playbook is answered with its id, slug, revision and times, and Location leads to it."""
    answer = await api.post("/api/playbooks", json=definition(description="To greet", tags=["a", "b"]))
    assert answer.status_code == 201
    stored = answer.json()
    assert stored["id"].startswith("pb-")
    assert (stored["slug"], stored["revision"], stored["tags"]) == ("greet", 1, ["a", "b"])
    assert stored["created_at"].endswith("Z")
    assert (await api.get(answer.headers["location"])).json() == stored


async def test_create_from_yaml(api: httpx2.AsyncClient) -> None:
    """A playbook may be sent as YAML."""
    answer = await api.post("/api/playbooks", content=YAML, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 201
    assert answer.json()["steps"][0]["parameters"] == {"text": "hello"}


@pytest.mark.parametrize("media", ["text/yaml", "application/x-yaml", "Application/YAML; charset=utf-8"])
async def test_yaml_media_types(api: httpx2.AsyncClient, media: str) -> None:
    """YAML goes by each of its names."""
    answer = await api.post("/api/playbooks/validate", content=YAML, headers={"Content-Type": media})
    assert answer.json() == {"valid": True}


async def test_read_by_slug(api: httpx2.AsyncClient, definition: Define) -> None:
    """A slug works where an id is taken."""
    stored = await store(api, definition())
    assert (await api.get("/api/playbooks/greet")).json() == stored


async def test_parameters_are_the_schema(api: httpx2.AsyncClient, definition: Define) -> None:
    """The parameters of an answer are the JSON Schema of what a run accepts, also where S4E's list was sent."""
    listed = [{"name": "text", "type": "string", "required": True}]
    stored = await store(api, definition(parameters=listed))
    assert stored["parameters"]["required"] == ["text"]
    assert stored["parameters"]["properties"]["text"]["type"] == "string"


async def test_id_is_kept(api: httpx2.AsyncClient, definition: Define) -> None:
    """An id in the body that is free is kept: an import keeps its ids."""
    stored = await store(api, definition(id="pb-11223344-5566-7788-99aa-bbccddeeff00"))
    assert stored["id"] == "pb-11223344-5566-7788-99aa-bbccddeeff00"


async def test_id_is_taken(api: httpx2.AsyncClient, definition: Define) -> None:
    """An id that is taken is a conflict, also when its playbook was deleted."""
    await store(api, definition(id="pb-1"))
    again = definition("Another", id="pb-1")
    assert (await api.post("/api/playbooks", json=again)).json()["error"]["details"][0]["path"] == "/id"
    assert (await api.delete("/api/playbooks/pb-1")).status_code == 204
    assert (await api.post("/api/playbooks", json=again)).status_code == 409


async def test_slug_is_taken(api: httpx2.AsyncClient, definition: Define) -> None:
    """A second playbook of one name is a conflict."""
    await store(api, definition())
    answer = await api.post("/api/playbooks", json=definition("GREET"))
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "conflict"


async def test_one_of_many_wins(api: httpx2.AsyncClient, definition: Define) -> None:
    """Of many that create one playbook at once, one succeeds and the others are told of the conflict."""
    answers = await asyncio.gather(*(api.post("/api/playbooks", json=definition()) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


@pytest.mark.parametrize("name", ["Executions", "validate"])
async def test_reserved_slug(api: httpx2.AsyncClient, definition: Define, name: str) -> None:
    """A playbook cannot be named so that its slug is a word of the interface."""
    assert (await api.post("/api/playbooks", json=definition(name))).status_code == 400


async def test_all_faults_in_json(api: httpx2.AsyncClient, definition: Define) -> None:
    """All faults of a definition are told at once, each with its JSON Pointer."""
    steps = [
        {"name": "One", "action_ref": "no.such.action"},
        {"name": "Two", "type": "condition", "expression": "parameters.nothing +"},
    ]
    answer = await api.post("/api/playbooks", json=definition(steps=steps))
    assert answer.status_code == 400
    paths = {detail["path"] for detail in answer.json()["error"]["details"]}
    assert {"/steps/0/action_ref", "/steps/1/expression"} <= paths


async def test_faults_in_yaml(api: httpx2.AsyncClient) -> None:
    """A fault in YAML is told with line and column."""
    content = YAML.replace(b"core.echo", b"no.such.action")
    answer = await api.post("/api/playbooks", content=content, headers={"Content-Type": "text/yaml"})
    detail = answer.json()["error"]["details"][0]
    assert (detail["path"], detail["line"]) == ("/steps/0/action_ref", 5)


@pytest.mark.parametrize(
    "content",
    [b"a: &x 1\nb: *x", b"a: !!python/object:os.system x", b"[" * 100_000, b"a: 1\na: 2", b"\xff", b"a: 1\n---\nb: 2"],
)
async def test_hostile_yaml(api: httpx2.AsyncClient, content: bytes) -> None:
    """Aliases, tags, depth, duplicates, broken text and a second document are 400."""
    answer = await api.post("/api/playbooks", content=content, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 400


async def test_validate(api: httpx2.AsyncClient, definition: Define) -> None:
    """A definition can be checked without being stored."""
    assert (await api.post("/api/playbooks/validate", json=definition())).json() == {"valid": True}
    assert (await api.post("/api/playbooks/validate", json=definition(steps=[]))).status_code == 400
    assert (await api.get("/api/playbooks")).json()["meta"]["total"] == 0


async def test_list(api: httpx2.AsyncClient, definition: Define) -> None:
    """The list has pages, and each entry its summary."""
    for name in ("Beta", "Alpha", "Gamma"):
        await store(api, definition(name, tags=["x"] if name == "Beta" else []))
    page = (await api.get("/api/playbooks?page=2&per_page=2")).json()
    assert page["meta"] == {"total": 3, "page": 2, "per_page": 2}
    assert [entry["name"] for entry in page["data"]] == ["Gamma"]
    assert set(page["data"][0]) == {
        "id", "slug", "name", "version", "revision", "description", "trigger", "step_count", "tags", "created_at",
        "updated_at",
    }  # fmt: skip


@pytest.mark.parametrize(("query", "names"), [("search=ALP", ["Alpha"]), ("tag=x", ["Beta"]), ("search=%25", [])])
async def test_filters(api: httpx2.AsyncClient, definition: Define, query: str, names: list[str]) -> None:
    """The list can be searched, and narrowed to a tag."""
    await store(api, definition("Alpha"))
    await store(api, definition("Beta", tags=["x"]))
    assert [entry["name"] for entry in (await api.get(f"/api/playbooks?{query}")).json()["data"]] == names


async def test_replace(api: httpx2.AsyncClient, definition: Define) -> None:
    """PUT stores a new revision under the same id; the older one can still be read."""
    first = await store(api, definition())
    answer = await api.put("/api/playbooks/greet", json=definition("Salute", version="2.0.0"))
    assert answer.status_code == 200
    second = answer.json()
    assert (second["id"], second["slug"], second["revision"]) == (first["id"], "salute", 2)
    assert (await api.get(f"/api/playbooks/{first['id']}/revisions/1")).json()["name"] == "Greet"
    assert (await api.get("/api/playbooks/greet")).status_code == 404


async def test_revisions(api: httpx2.AsyncClient, definition: Define) -> None:
    """The revisions are listed, newest first, with who stored them."""
    await store(api, definition())
    await api.put("/api/playbooks/greet", json=definition(version="1.1.0"))
    listed = (await api.get("/api/playbooks/greet/revisions")).json()
    assert listed["meta"]["total"] == 2
    assert [(entry["revision"], entry["version"]) for entry in listed["data"]] == [(2, "1.1.0"), (1, "1.0.0")]
    assert listed["data"][0]["created_by"] == "admin"


@pytest.mark.parametrize("number", ["3", "0", "-1", "x", "99999999999999999999"])
async def test_unknown_revision(api: httpx2.AsyncClient, definition: Define, number: str) -> None:
    """A revision that does not exist is 404."""
    await store(api, definition())
    assert (await api.get(f"/api/playbooks/greet/revisions/{number}")).status_code == 404


async def test_answer_can_be_sent_back(api: httpx2.AsyncClient, definition: Define) -> None:
    """What was read can be changed and stored as it is, with the fields that the service has added."""
    stored = await store(api, definition())
    answer = await api.put("/api/playbooks/greet", json={**stored, "description": "Changed"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["revision"], answer.json()["description"]) == (2, "Changed")


async def test_answer_with_a_fault(api: httpx2.AsyncClient, definition: Define) -> None:
    """Of what was read and is sent back only the true faults are told."""
    stored = await store(api, definition())
    answer = await api.put("/api/playbooks/greet", json={**stored, "steps": [{"name": "x", "action_ref": "no.such"}]})
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == ["/steps/0/action_ref"]


async def test_replace_with_another_id(api: httpx2.AsyncClient, definition: Define) -> None:
    """A playbook's id cannot change; its own may stand in the body."""
    stored = await store(api, definition())
    assert (await api.put("/api/playbooks/greet", json=definition(id="pb-other"))).status_code == 400
    assert (await api.put("/api/playbooks/greet", json=definition(id=stored["id"]))).status_code == 200


async def test_replace_with_a_taken_name(api: httpx2.AsyncClient, definition: Define) -> None:
    """A playbook cannot take the name of another."""
    await store(api, definition())
    await store(api, definition("Other"))
    assert (await api.put("/api/playbooks/other", json=definition())).status_code == 409


@pytest.mark.parametrize("playbook_id", ["nothing", "pb-00000000-0000-0000-0000-000000000000", "a%00b", "%F0%9F%92%A9"])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/revisions")])
async def test_unknown_playbook(
    api: httpx2.AsyncClient, definition: Define, method: str, path: str, playbook_id: str
) -> None:
    """A playbook that does not exist is 404, whatever its id looks like."""
    body = definition() if method == "PUT" else None
    answer = await api.request(method, f"/api/playbooks/{playbook_id}{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_bad_definition_before_unknown_playbook(api: httpx2.AsyncClient) -> None:
    """400 comes before 404."""
    assert (await api.put("/api/playbooks/nothing", json={})).status_code == 400


async def test_delete(api: httpx2.AsyncClient, definition: Define) -> None:
    """A deleted playbook is gone, and its name is free again."""
    await store(api, definition())
    assert (await api.delete("/api/playbooks/greet")).status_code == 204
    assert (await api.get("/api/playbooks/greet")).status_code == 404
    assert (await api.delete("/api/playbooks/greet")).status_code == 404
    await store(api, definition())


async def test_delete_while_running(app: FastAPI, api: httpx2.AsyncClient, definition: Define) -> None:
    """A playbook with an execution under way cannot be deleted."""
    stored = await store(api, definition())
    run = NewExecution(
        id="exec-1", created_at=1, created_by="admin", playbook_id=stored["id"], revision=1, asset_id="a", asset={},
        parameters={}, dry_run=False, workflow_id="w",
    )  # fmt: skip
    await app.state.services.database.write(executions.insert, run, None)
    answer = await api.delete("/api/playbooks/greet")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert (await api.get("/api/playbooks/greet")).status_code == 200


async def test_schema(api: httpx2.AsyncClient) -> None:
    """The JSON Schema of the format is served for editors."""
    schema = (await api.get("/api/schemas/playbook.json")).json()
    assert {"name", "steps"} <= set(schema["properties"])


async def test_large_definition(api: httpx2.AsyncClient, definition: Define) -> None:
    """A definition near the limit of the body is answered, whatever the answer, in the one shape."""
    steps = [{"name": f"Step {number}", "action_ref": "core.echo", "parameters": {}} for number in range(11_000)]
    content = json.dumps(definition(steps=steps)).encode()
    assert len(content) < 1_048_576
    answer = await api.post("/api/playbooks", content=content)
    assert answer.status_code == 400
