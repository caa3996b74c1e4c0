"""The console without a browser: who gets in, what is shown to whom, and that no form comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from api.app import create_app
from api.console.sessions import COOKIE, LIFETIME_SECONDS
from settings import Settings
from tests.integration.api.route_table import is_console

ADMIN_TOKEN = "an-admin-token-for-tests"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
Minter = Callable[..., Awaitable[dict[str, str]]]
MakeApi = Callable[..., Awaitable[httpx2.AsyncClient]]
Define = Callable[..., dict[str, Any]]
PAGES = ["/", "/playbooks", "/executions", "/assets", "/audit", "/tokens", "/new-playbook", "/new-asset"]


async def sign_in(client: httpx2.AsyncClient, token: str = ADMIN_TOKEN, **fields: str) -> httpx2.Response:
    """Signs in; the client keeps the cookie."""
    return await client.post("/sign-in", data={"token": token, **fields})


async def csrf(client: httpx2.AsyncClient) -> str:
    """The proof that the forms of this session carry."""
    found = re.search(r'name="csrf" value="(\w+)"', (await client.get("/new-playbook")).text)
    assert found is not None
    return found[1]


async def post(client: httpx2.AsyncClient, path: str, **fields: Any) -> httpx2.Response:
    """Sends a form of the session."""
    return await client.post(path, data={"csrf": await csrf(client), **fields})


@pytest.fixture
async def console(anonymous: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A browser's client, signed in with the admin token."""
    assert (await sign_in(anonymous)).status_code == 303
    return anonymous


@pytest.mark.parametrize("path", [*PAGES, "/executions/exec-1", "/playbooks/x/run?asset=1"])
async def test_stranger_is_sent_to_the_sign_in(anonymous: httpx2.AsyncClient, path: str) -> None:
    """Every page asks for a session, and comes back to where it was wanted."""
    answer = await anonymous.get(path)
    assert answer.status_code == 303
    location = httpx2.URL(answer.headers["location"])
    assert location.path == "/sign-in"
    assert location.params.get("next", "/") == path


async def test_session_cookie(anonymous: httpx2.AsyncClient) -> None:
    """The cookie is for this site and this server alone, holds nothing of the token, and lasts half a day."""
    answer = await sign_in(anonymous, next="/assets?search=web")
    assert (answer.status_code, answer.headers["location"]) == (303, "/assets?search=web")
    cookie = answer.headers["set-cookie"]
    assert ADMIN_TOKEN not in cookie
    assert f"Max-Age={LIFETIME_SECONDS}" in cookie
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "Secure" not in cookie


async def test_cookie_is_secure_over_https(make_api: MakeApi) -> None:
    """Over HTTPS the cookie never travels without it."""
    client = await make_api()
    client.base_url = "https://testserver"
    assert "Secure" in (await sign_in(client)).headers["set-cookie"]


@pytest.mark.parametrize("token", ["", "nonsense", "stn_" + "a" * 43])
async def test_bad_token(anonymous: httpx2.AsyncClient, token: str) -> None:
    """A bad token gets no session, and a sentence."""
    answer = await sign_in(anonymous, token)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert 'aria-invalid="true"' in answer.text


@pytest.mark.parametrize("wanted", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere", "x", "/a\nb"])
async def test_sign_in_leads_nowhere_else(anonymous: httpx2.AsyncClient, wanted: str) -> None:
    """A link to the sign-in cannot send anybody to another site."""
    assert (await sign_in(anonymous, next=wanted)).headers["location"] == "/"


async def test_sign_out_ends_the_session(console: httpx2.AsyncClient) -> None:
    """The cookie of a session that was ended opens nothing, wherever it was copied to."""
    kept = console.cookies[COOKIE]
    answer = await post(console, "/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    console.cookies.set(COOKIE, kept, domain="testserver.local")
    assert (await console.get("/playbooks", headers={"Cookie": f"{COOKIE}={kept}"})).status_code == 303


async def test_session_outlives_its_process(make_api: MakeApi) -> None:
    """A session that one process of the API began is known to the next, and ended by it for both."""
    first, second = await make_api(), await make_api()
    await sign_in(first)
    second.cookies = first.cookies
    assert (await second.get("/assets")).status_code == 200
    await post(second, "/sign-out")
    assert (await first.get("/assets")).status_code == 303


async def test_session_ends_by_itself(anonymous: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose time is over opens nothing, though the browser still has its cookie."""
    monkeypatch.setattr("api.console.sessions.LIFETIME_SECONDS", 0)
    cookie = (await sign_in(anonymous)).headers["set-cookie"].partition(";")[0]
    answer = await anonymous.get("/assets", headers={"Cookie": cookie})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fassets")


async def test_revoked_token_ends_its_sessions(anonymous: httpx2.AsyncClient, mint: Minter) -> None:
    """With the token its sessions end, at once."""
    token = (await mint("asset:read"))["Authorization"].removeprefix("Bearer ")
    await sign_in(anonymous, token)
    assert (await anonymous.get("/assets")).status_code == 200
    listed = (await anonymous.get("/api/tokens", headers=ADMIN)).json()["data"]
    assert (await anonymous.delete(f"/api/tokens/{listed[0]['id']}", headers=ADMIN)).status_code == 204
    assert (await anonymous.get("/assets")).status_code == 303


async def test_cookie_opens_no_route_for_programs(console: httpx2.AsyncClient) -> None:
    """Only pages take the cookie: a program's route, which checks no origin, does not."""
    assert (await console.get("/api/assets")).status_code == 401


def console_routes(method: str) -> list[str]:
    """The paths of every page, or of every form, each parameter filled in."""
    app = create_app(Settings(temporal_address="127.0.0.1:1"))
    routes = [route for route in app.router.routes if isinstance(route, APIRoute) and is_console(route)]
    paths = [route.path for route in routes if method in route.methods and route.path not in OPEN]
    return sorted(re.sub(r"\{[^}]+\}", "x", path) for path in paths)


OPEN = ("/sign-in", "/static/{version}/{name:path}")
"""What a stranger may see."""


@pytest.mark.parametrize("path", console_routes("POST"))
async def test_form_without_proof(console: httpx2.AsyncClient, path: str) -> None:
    """No form is taken without the proof of its session, or with that of another."""
    for fields in ({}, {"csrf": "0" * 64}):
        answer = await console.post(path, data={"name": "x", **fields}, headers={"Accept": "text/html"})
        assert answer.status_code == 403
        assert "This form comes from another site" in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_route_of_the_console_wants_a_session(anonymous: httpx2.AsyncClient, method: str) -> None:
    """Without a session each page and each form leads to the sign-in, and does nothing."""
    paths = console_routes(method)
    assert len(paths) > 10
    for path in paths:
        answer = await anonymous.request(method, path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in"), path


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}]
)
async def test_form_of_another_site(console: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    """Even a form that knows the proof is refused where the browser says that another site has sent it."""
    fields = {"csrf": await csrf(console), "name": "web-01", "type": "host"}
    assert (await console.post("/new-asset", data=fields, headers=headers)).status_code == 403
    assert (await console.post("/sign-in", data={"token": ADMIN_TOKEN}, headers=headers)).status_code == 403
    assert (await console.get("/api/assets", headers=ADMIN)).json()["meta"]["total"] == 0


async def test_link_from_another_site_asks_again(anonymous: httpx2.AsyncClient) -> None:
    """A strict cookie does not come along with a link from elsewhere: the page asks for itself once more."""
    answer = await anonymous.get("/playbooks", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'http-equiv="refresh"' in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/nothing-here"])
async def test_policy_of_every_page(console: httpx2.AsyncClient, path: str) -> None:
    """Pages run nothing and style nothing from within, load nothing from elsewhere, and stand in no frame."""
    answer = await console.get(path, headers={"Accept": "text/html"})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=|javascript:|(src|href)=.https?:", answer.text)


async def test_menu_shows_what_the_token_may(anonymous: httpx2.AsyncClient, mint: Minter) -> None:
    """A token sees the pages that it may see, and no button that it may not press."""
    token = (await mint("asset:read"))["Authorization"].removeprefix("Bearer ")
    await sign_in(anonymous, token)
    answer = await anonymous.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/assets")
    text = (await anonymous.get("/assets")).text
    assert 'href="/assets"' in text
    assert not any(
        f'href="{path}"' in text for path in ("/playbooks", "/executions", "/audit", "/tokens", "/new-asset")
    )
    refused = await anonymous.get("/tokens", headers={"Accept": "text/html"})
    assert refused.status_code == 403
    assert "The token lacks the permission token:admin." in refused.text


async def test_changes_are_in_the_audit_trail(console: httpx2.AsyncClient) -> None:
    """What is done on a page is noted like what is done by a program, with the token and its address."""
    answer = await post(console, "/new-asset", name="web-01", type="host", tags="env=prod\nowner=web", attributes="{}")
    assert answer.status_code == 303
    listed = (await console.get("/api/audit", headers=ADMIN)).json()["data"]
    assert [(one["action"], one["actor_id"], one["address"]) for one in listed] == [
        ("asset.create", "admin", "192.0.2.7"),
        ("session.create", "admin", "192.0.2.7"),
    ]
    asset = (await console.get("/api/assets", headers=ADMIN)).json()["data"][0]
    assert (asset["tags"], asset["attributes"]) == ({"env": "prod", "owner": "web"}, {})


async def test_faulty_asset_is_shown_again_with_its_faults(console: httpx2.AsyncClient) -> None:
    """Each fault stands at its field; what was typed stays."""
    answer = await post(console, "/new-asset", name="web-01", type="", ip="999.1.1.1", attributes="")
    assert answer.status_code == 400
    assert 'id="ip-errors"' in answer.text
    assert 'id="type-errors"' in answer.text
    assert 'value="999.1.1.1"' in answer.text
    broken = await post(console, "/new-asset", name="web-01", type="host", attributes="{")
    assert 'id="attributes-errors"' in broken.text


async def test_texts_are_never_markup(console: httpx2.AsyncClient, definition: Define) -> None:
    """Names, descriptions and sources come out as texts, whatever is in them."""
    bad = '"><img src=x onerror=alert(1)>'
    made = await console.post("/api/playbooks", json=definition("Greet", description=bad, tags=[bad]), headers=ADMIN)
    await console.post("/api/assets", json={"name": bad, "type": bad, "tags": {bad: bad}}, headers=ADMIN)
    asset = (await console.get("/api/assets", headers=ADMIN)).json()["data"][0]["id"]
    playbook = made.json()["id"]
    paths = ["/playbooks", f"/playbooks?search={bad}", f"/playbooks/{playbook}", f"/playbooks/{playbook}/edit"]
    paths += [f"/playbooks/{playbook}/run", f"/playbooks/{playbook}/revisions", "/assets", f"/assets/{asset}", "/audit"]
    for path in [*paths, f"/assets/{asset}/edit", f"/sign-in?next=/{bad}", f"/executions?playbook_id={bad}"]:
        answer = await console.get(path, headers={"Accept": "text/html"})
        assert answer.status_code in (200, 400), path
        assert "<img src=x" not in answer.text, path


async def test_faults_while_typing(console: httpx2.AsyncClient) -> None:
    """The check tells every fault with line and column, stores nothing, and leaves no trace in the audit trail."""
    source = "name: Greet\r\nsteps:\r\n  - {name: Say, action_ref: core.nothing, parameters: {}}\r\n"
    answer = await post(console, "/check-playbook", source=source)
    assert answer.status_code == 200
    assert 'data-line="3" data-column="17"' in answer.text
    good = await post(console, "/check-playbook", source=source.replace("core.nothing", "core.echo"))
    assert "No faults" in good.text
    listed = (await console.get("/api/audit", headers=ADMIN)).json()["data"]
    assert {one["action"] for one in listed} == {"session.create"}


async def test_edit_keeps_text_and_refuses_to_overwrite(console: httpx2.AsyncClient) -> None:
    """A text is stored as it was typed; who began before somebody else stored is told so, and keeps his text."""
    source = "# A comment.\nname: Greet\nsteps:\n  - {name: Say, action_ref: core.echo, parameters: {text: hello}}\n"
    made = await post(console, "/new-playbook", source=source.replace("\n", "\r\n"))
    path = made.headers["location"]
    assert "# A comment." in (await console.get(f"{path}/edit")).text
    changed = source.replace("hello", "good morning")
    assert (await post(console, f"{path}/edit", source=changed, revision="1")).status_code == 303
    late = await post(console, f"{path}/edit", source=source.replace("hello", "too late"), revision="1")
    assert late.status_code == 409
    assert "Somebody has stored revision 2 meanwhile" in late.text
    assert "too late" in late.text
    compared = (await console.get(f"{path}/revisions?before=1&after=2")).text
    assert re.search(r"line-removed.*?text: hello.*?line-added.*?text: good morning", compared, re.S)
    faulty = await post(console, f"{path}/edit", source=changed.replace("core.echo", "core.nothing"), revision="2")
    assert faulty.status_code == 400
    assert "core.nothing" in faulty.text


async def test_token_is_shown_once(console: httpx2.AsyncClient) -> None:
    """A token that is made on the page works, and is on no page after that."""
    fields = {"csrf": await csrf(console), "name": "ci", "permission": ["asset:read", "asset:write"], "expires": ""}
    answer = await console.post("/tokens", data=fields)
    assert answer.status_code == 201
    found = re.search(r"stn_[\w-]{43}", answer.text)
    assert found is not None
    assert (await console.get("/api/assets", headers={"X-API-Key": found[0]})).status_code == 200
    assert found[0] not in (await console.get("/tokens")).text
    empty = await post(console, "/tokens", name="", expires="2020-01-01")
    assert empty.status_code == 400
    assert "permissions" in empty.text


async def test_run_form_shows_faults_at_their_fields(console: httpx2.AsyncClient, definition: Define) -> None:
    """What the schema refuses is said at the field; nothing is started, and what was typed stays."""
    schema = {
        "type": "object",
        "required": ["port"],
        "properties": {"port": {"type": "integer"}, "hosts": {"type": "array", "items": {"type": "string"}}},
    }
    made = await console.post("/api/playbooks", json=definition("Greet", parameters=schema), headers=ADMIN)
    assert made.status_code == 400  # its step reads a parameter that is not there any more
    steps = [{"name": "Say it", "action_ref": "core.echo", "parameters": {}}]
    made = await console.post("/api/playbooks", json=definition("Greet", parameters=schema, steps=steps), headers=ADMIN)
    asset = await console.post("/api/assets", json={"name": "web-01", "type": "host"}, headers=ADMIN)
    path = f"/playbooks/{made.json()['id']}/run"
    fields = {"asset": asset.json()["id"], "/port": "many", "count:/hosts": "1", "/hosts/0": "web-01"}
    answer = await post(console, path, **fields, mode="rehearsal")
    assert answer.status_code == 422
    assert 'id="field-port-errors"' in answer.text
    assert 'value="many"' in answer.text
    grown = await post(console, path, **fields, add="/hosts")
    assert 'name="/hosts/1"' in grown.text
    shrunk = await post(console, path, **fields, remove="/hosts/0")
    assert 'name="/hosts/0"' not in shrunk.text
    missing = await post(console, path, **{**fields, "asset": ""}, mode="live")
    assert missing.status_code == 400
    assert 'id="asset-errors"' in missing.text


@pytest.mark.parametrize("body", [b"csrf=%FF", b"a=1&" * 6000, b"\xff"])
async def test_hostile_form(console: httpx2.AsyncClient, body: bytes) -> None:
    """A form that cannot be read is refused with a page, not an accident."""
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    assert (await console.post("/new-asset", content=body, headers=headers)).status_code == 400
    multipart = await console.post("/new-asset", files={"name": b"x"}, headers={"Accept": "text/html"})
    assert multipart.status_code == 400


async def test_static_files(anonymous: httpx2.AsyncClient) -> None:
    """Files are kept by browsers under addresses that change with them; nothing outside of their folder is served."""
    text = (await anonymous.get("/sign-in")).text
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', text):
        answer = await anonymous.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
    sheet = await anonymous.get("/static/old/console.css", headers={"Accept-Encoding": "gzip"})
    assert sheet.headers["cache-control"] == "no-cache"
    assert sheet.headers["content-encoding"] == "gzip"
    assert ":root" in sheet.text
    for path in ("/static/x/../app.py", "/static/x/%2e%2e/app.py", "/static/x/nothing.css", "/static/x/"):
        assert (await anonymous.get(path)).status_code == 404


@pytest.mark.parametrize(("accept", "type_"), [("text/html,*/*;q=0.8", "text/html"), ("*/*", "application/json")])
async def test_unknown_address(console: httpx2.AsyncClient, accept: str, type_: str) -> None:
    """A person gets a page, a program the one shape of errors."""
    answer = await console.get("/nothing", headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith(type_)
    program = await console.get("/api/nothing", headers={"Accept": accept})
    assert program.headers["content-type"] == "application/json"


async def test_more_assets_than_a_list_holds(console: httpx2.AsyncClient, definition: Define) -> None:
    """Past a hundred assets the form has a search, and the chosen one is always in the list."""
    made = await console.post("/api/playbooks", json=definition(), headers=ADMIN)
    path = f"/playbooks/{made.json()['id']}/run"
    ids = []
    for number in range(101):
        body = {"name": f"web-{number:03}", "type": "host"}
        ids.append((await console.post("/api/assets", json=body, headers=ADMIN)).json()["id"])
    text = (await console.get(path, params={"asset": ids[100]})).text
    assert f'value="{ids[100]}" selected' in text
    assert 'id="asset-search"' in text
    found = (await console.get("/asset-options", params={"asset_search": "web-05", "asset": ids[100]})).text
    assert found.count("<option") == 1 + 1 + 10
    assert f'value="{ids[100]}" selected' in found
