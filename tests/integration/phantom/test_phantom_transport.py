"""The wire: who may ask, in which forms, and how errors look."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import httpx2
import pytest

from api.phantom.app import phantom as phantom_mount
from tests.integration.engine.test_blocks import echo
from tests.integration.phantom.phantom import PASSWORD, PHANTOM_TOKEN, USER, Phantom
from tests.stack import Stack


def basic(user: str, password: str) -> dict[str, str]:
    """The header of a user and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def ask(stack: Stack, headers: dict[str, str], path: str = "version", method: str = "GET") -> httpx2.Response:
    """The answer to a request with these headers alone."""
    async with httpx2.AsyncClient(base_url=stack.url, timeout=30) as http:
        return await http.request(method, f"/rest/{path}", headers=headers, content="{}" if method == "POST" else None)


@pytest.mark.parametrize(
    "path", ["version", "version/", "version//", "/version", "version?pretty", "version/?pretty&_x=1"]
)
async def test_slashes_and_flags(phantom: Phantom, path: str) -> None:
    """With and without a trailing slash; a flag has no value."""
    assert (await phantom.get(path)) == {"version": "4.10.7.63984"}
    answer = await phantom.http.get(f"{phantom.stack.url}//rest/{path}")
    assert answer.json() == {"version": "4.10.7.63984"}


@pytest.mark.parametrize(
    "media", ["application/json", "application/x-www-form-urlencoded", "text/plain", "text/plain; charset=x", None]
)
async def test_a_body_is_json_whatever_it_is_called(phantom: Phantom, media: str | None) -> None:
    """``curl -d`` calls it a form."""
    headers = {"Content-Type": media} if media else {}
    content = json.dumps({"name": "x"}).encode()
    request = phantom.http.build_request("POST", "/rest/container/", content=content, headers=headers)
    if media is None:
        request.headers.pop("content-type", None)
    answer = await phantom.http.send(request)
    assert (answer.status_code, answer.json()["success"]) == (200, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "nowhere", 404, None),
        ("GET", "container/x", 404, None),
        ("GET", "container/99999999999999", 404, None),
        ("GET", "container/0", 404, None),
        ("GET", "playbook_run/7", 404, None),
        ("GET", "a/b/c/d/e", 404, None),
        ("PUT", "container", 405, None),
        ("DELETE", "version", 405, None),
        ("POST", "container", 400, "{"),
        ("POST", "container", 400, ""),
        ("POST", "container", 400, "7"),
        ("POST", "container", 400, "[]"),
        ("POST", "playbook_run", 400, "name=x&y=z"),
        ("POST", "playbook_run", 400, "[1]"),
    ],
)
async def test_every_error_has_the_one_shape(phantom: Phantom, method: str, path: str, status: int, body: Any) -> None:
    """``{"failed": true, "message": …}``, for unknown paths too."""
    answer = await phantom.http.request(method, f"/rest/{path}", content=body)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["failed"] is True
    assert told["message"]
    assert answer.headers["content-type"] == "application/json"


async def test_who_is_let_in(phantom: Phantom) -> None:
    """User and password; the token in its header, or as password of nobody; the product's own tokens."""
    made = await phantom.stack.http.post("/api/tokens", json={"name": "soc", "permissions": ["asset:read"]})
    own = made.json()["token"]
    for headers in (
        basic(USER, PASSWORD),
        {"ph-auth-token": PHANTOM_TOKEN},
        basic("", PHANTOM_TOKEN),
        {"ph-auth-token": own},
        basic("", own),
    ):
        assert (await ask(phantom.stack, headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, basic(USER, "wrong"), basic("nobody", PASSWORD), basic("", "wrong"), {"ph-auth-token": "wrong"},
        {"ph-auth-token": ""}, {"Authorization": "Basic !!!"}, {"Authorization": "Bearer x"}, basic(USER, ""),
        {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}, basic(USER, "x" * 5000),
    ],
)  # fmt: skip
async def test_who_is_not(phantom: Phantom, headers: dict[str, str]) -> None:
    """401 with the way to ask."""
    answer = await ask(phantom.stack, headers)
    assert (answer.status_code, answer.json()["failed"]) == (401, True)
    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_rights_are_those_of_the_product(phantom: Phantom) -> None:
    """A token that may read assets may read containers, and nothing else."""
    made = await phantom.stack.http.post("/api/tokens", json={"name": "soc", "permissions": ["asset:read"]})
    headers = {"ph-auth-token": made.json()["token"]}
    assert (await ask(phantom.stack, headers, "container")).status_code == 200
    for method, path in (("POST", "container"), ("POST", "playbook_run"), ("GET", "playbook_run"), ("GET", "audit")):
        answer = await ask(phantom.stack, headers, path, method)
        assert (answer.status_code, answer.json()["failed"]) == (403, True)


def routes() -> list[tuple[str, str]]:
    """Method and path of every route, with numbers in it."""
    found = phantom_mount().app.app.routes  # type: ignore[attr-defined]
    return [
        (method, re.sub(r"\{\w+\}", "1", route.path.removeprefix("/")))
        for route in found
        for method in sorted(route.methods)
    ]


async def test_every_route_asks_who_comes(phantom: Phantom) -> None:
    """Nobody, a wrong password and a wrong token: 401; a token or a user without the right: 403."""
    rights = ["token:admin"]
    made = await phantom.stack.http.post("/api/tokens", json={"name": "none", "permissions": rights})
    body = {"username": "mallory", "password": "correct horse", "permissions": rights}
    assert (await phantom.stack.http.post("/api/users", json=body)).status_code == 201
    callers = (
        ({}, 401),
        (basic(USER, "wrong"), 401),
        ({"ph-auth-token": "wrong"}, 401),
        ({"ph-auth-token": made.json()["token"]}, 403),
        (basic("mallory", "correct horse"), 403),
    )
    assert len(routes()) > 60
    async with httpx2.AsyncClient(base_url=phantom.stack.url, timeout=30) as http:
        for method, path in routes():
            for headers, status in callers:
                answer = await http.request(method, f"/rest/{path}", headers=headers)
                assert answer.status_code == status, (method, path, headers)
                assert method == "HEAD" or answer.json()["failed"] is True


async def test_deleting_wants_a_user(phantom: Phantom) -> None:
    """User and password; a token may not, whatever else it may do."""
    deletes = [path for method, path in routes() if method == "DELETE"]
    assert len(deletes) >= 5
    made = await phantom.stack.http.post("/api/tokens", json={"name": "soc", "permissions": ["asset:write"]})
    number = await phantom.container()
    for token in (PHANTOM_TOKEN, made.json()["token"]):
        for headers in ({"ph-auth-token": token}, basic("", token)):
            for path in deletes:
                answer = await ask(phantom.stack, headers, path, "DELETE")
                assert (answer.status_code, answer.json()["failed"]) == (403, True)
    assert (await ask(phantom.stack, basic(USER, PASSWORD), f"container/{number}", "DELETE")).status_code == 200


async def test_a_password_in_latin_1(phantom: Phantom) -> None:
    """The way in which `requests` writes what is no ASCII."""
    body = {"username": "eve", "password": "Straße nach Köln", "permissions": ["asset:read"]}
    assert (await phantom.stack.http.post("/api/users", json=body)).status_code == 201
    for encoding in ("utf-8", "latin-1"):
        text = base64.b64encode("eve:Straße nach Köln".encode(encoding)).decode()
        assert (await ask(phantom.stack, {"Authorization": f"Basic {text}"}, "container")).status_code == 200


async def test_who_somebody_is(phantom: Phantom) -> None:
    """Users are normal and tokens are automation; their roles are what their permissions make them."""
    permissions = ["asset:read", "playbook:execute"]
    body = {"username": "eve", "password": "correct horse", "permissions": permissions}
    await phantom.stack.http.post("/api/users", json=body)
    made = await phantom.stack.http.post("/api/tokens", json={"name": "soc", "permissions": permissions})
    headers = {"ph-auth-token": made.json()["token"]}
    for path in ("user_info", "user_settings"):
        told = (await ask(phantom.stack, headers, path)).json()
        assert (told["username"], told["type"], told["roles"]) == ("soc", "automation", ["Automation", "Observer"])
        assert told["effective_permissions"] == permissions
    assert "Administrator" in (await phantom.get("user_info"))["roles"]
    for value, names in (
        ('["normal"]', ["admin", "eve"]),
        ('["automation"]', ["soc"]),
        ('["normal","automation"]', ["admin", "eve", "soc"]),
    ):
        found = await phantom.get("ph_user", _filter_type__in=value, include_automation="true", sort="username")
        assert [one["username"] for one in found["data"]] == names


async def test_users_of_the_product(phantom: Phantom) -> None:
    """Made by who may make tokens; their password is hashed, and a removed one is let in no more."""
    api = phantom.stack.http
    body = {"username": "eve", "password": "correct horse", "permissions": ["asset:read", "asset:write"]}
    made = await api.post("/api/users", json=body)
    assert made.status_code == 201, made.text
    assert "password" not in made.json()
    assert (await api.post("/api/users", json=body)).status_code == 409
    assert (await ask(phantom.stack, basic("eve", "correct horse"), "container")).status_code == 200
    assert (await ask(phantom.stack, basic("eve", "correct horse"), "container")).status_code == 200
    assert (await ask(phantom.stack, basic("eve", "wrong"), "container")).status_code == 401
    assert (await ask(phantom.stack, basic("eve", "correct horse"), "playbook_run")).status_code == 403
    names = [one["username"] for one in (await phantom.get("ph_user"))["data"]]
    assert set(names) == {"admin", "eve"}
    assert (await api.get("/api/users")).json()["data"][0]["username"] == "eve"
    assert (await api.delete(f"/api/users/{made.json()['id']}")).status_code == 204
    assert (await ask(phantom.stack, basic("eve", "correct horse"), "container")).status_code == 401
    kept = b"".join(file.read_bytes() for file in phantom.stack.settings.data_dir.rglob("*") if file.is_file())
    assert b"correct horse" not in kept


async def test_it_is_off_until_somebody_could_be_let_in(stack: Stack) -> None:
    """404 on everything; the first token turns it on."""
    answer = await ask(stack, {"ph-auth-token": "x"})
    assert (answer.status_code, answer.json()["failed"]) == (404, True)
    made = await stack.http.post("/api/tokens", json={"name": "soc", "permissions": ["asset:read"]})
    assert (await ask(stack, {"ph-auth-token": made.json()["token"]})).status_code == 200


async def test_one_at_a_time_where_the_operator_wants_it(tmp_path: Any) -> None:
    """``STANCHION_PHANTOM_EXCLUSIVE``: the second run is refused."""
    from pydantic import SecretStr

    from tests.integration.engine.test_blocks import sleeps
    from tests.stack import running_stack, stack_settings

    settings = stack_settings(tmp_path, phantom_user=USER, phantom_password=SecretStr(PASSWORD), phantom_exclusive=True)
    async with running_stack(settings) as stack, Phantom.on(stack) as phantom:
        playbook = await stack.playbook([sleeps("a", 60)])
        container = await phantom.container()
        run = await phantom.run(playbook["name"], container)
        body = {"container_id": container, "playbook_id": playbook["name"], "run": True}
        told = await phantom.fails("POST", "playbook_run", 400, body)
        assert "already running" in told["message"]
        await phantom.post(f"playbook_run/{run}", {"cancel": True})


async def test_playbooks(phantom: Phantom) -> None:
    """Listed with a number, read with their definition, made active or not."""
    made = await phantom.stack.playbook([echo("a")], description="words")
    [listed] = (await phantom.get("playbook", pretty=""))["data"]
    assert (listed["name"], listed["active"], listed["_pretty_scm"]) == (made["name"], True, "local")
    number = listed["id"]
    for field in listed:
        if not field.startswith("_pretty_"):
            await phantom.get("playbook", **{f"_filter_{field}__isnull": "False"})
    polarity = {"_filter_labels__contains": "'events'", "_exclude_category": "'deprecated'"}
    assert [one["labels"] for one in (await phantom.get("playbook", **polarity))["data"]] == [["events"]]
    whole = await phantom.get(f"playbook/{number}")
    assert whole["coa_data"]["definition"]["name"] == made["name"]
    assert await phantom.get(f"playbook/{number}/name") == {"name": made["name"]}
    assert (await phantom.post(f"playbook/{number}", {"active": False}))["success"]
    assert (await phantom.get("playbook", _filter_active="True"))["count"] == 0
    answer = await phantom.http.post("/rest/playbooks", params={"active": True, "id": number, "toggle": True}, json={})
    assert answer.status_code == 200
    assert (await phantom.get("playbook", _filter_active="True"))["count"] == 1
    await phantom.fails("POST", "playbook/77", 404, {"active": True})
    await phantom.fails("POST", f"playbook/{number}", 400, {"name": "other"})
    await phantom.stack.http.delete(f"/api/playbooks/{made['id']}")
    assert (await phantom.get("playbook"))["count"] == 0


@pytest.mark.parametrize(
    "path",
    [
        "severity",
        "container_status",
        "scm",
        "ph_user",
        "app",
        "cluster_node",
        "label",
        "tenant",
        "role",
        "approval",
        "note",
        "cef",
        "asset",
    ],
)
async def test_small_lists(phantom: Phantom, path: str) -> None:
    """Each has the shape of every list."""
    found = await phantom.get(path, page_size=100)
    assert set(found) == {"count", "num_pages", "data"}
    if found["data"]:
        assert await phantom.get(f"{path}/{found['data'][0]['id']}") == found["data"][0]


async def test_small_records(phantom: Phantom) -> None:
    """What clients look at before they begin."""
    assert (await phantom.get("system_info"))["time_zone"] == "UTC"
    options = await phantom.get("container_options")
    assert [one["name"] for one in options["severity"] if one["is_default"]] == ["medium"]
    assert await phantom.get("container_options/label") == {"label": ["events"]}
    await phantom.fails("GET", "container_options/colour", 404)
    assert (await phantom.get("user_info"))["username"] == "admin"
    assert (await phantom.get("health"))["status"] == "ok"
    await phantom.container()
    assert {entry["action"] for entry in await phantom.get("audit")} == {"container.create"}
