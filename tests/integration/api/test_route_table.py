"""Every route with every kind of token: 401, 403, or let in, as the table says."""

from __future__ import annotations

import ast
import hmac
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr

from api.app import create_app
from api.tokens import PERMISSIONS
from settings import Settings
from tests.integration.api.conftest import ADMIN, ADMIN_TOKEN, MakeApi
from tests.integration.api.route_table import PUBLIC, routes_of, table

WRONG = "stn_" + "a" * 43
PASSWORD = "a password"
TABLE = table()
GUARDED = sorted(line for line, permissions in TABLE.items() if permissions != PUBLIC)


@pytest.fixture
async def client(make_api: MakeApi) -> httpx2.AsyncClient:
    """An application with both interfaces, and users beside tokens for what only users may do."""
    client = await make_api(phantom_token=SecretStr("a-phantom-token"))
    for permission in PERMISSIONS:
        body = {"username": permission.replace(":", "."), "password": PASSWORD, "permissions": [permission]}
        answer = await client.post("/api/users", json=body, headers=ADMIN)
        assert answer.status_code == 201, answer.text
    return client


@pytest.fixture
async def tokens(client: httpx2.AsyncClient) -> dict[str, str]:
    """A token for each permission."""
    made = {}
    for permission in PERMISSIONS:
        body = {"name": permission, "permissions": [permission]}
        made[permission] = (await client.post("/api/tokens", json=body, headers=ADMIN)).json()["token"]
    return made


async def ask(client: httpx2.AsyncClient, line: str, token: str | None = None, user: str | None = None) -> int:
    """The status that a request of this row gets."""
    method, _, path = line.partition(" ")
    path = re.sub(r"\{(\w+)\}", lambda found: "1" if found[1] in ("number", "user_id") else "x", path)
    header = "ph-auth-token" if path.startswith("/rest") else "X-API-Key"
    headers = {header: token} if token else {}
    auth = (user, PASSWORD) if user else None
    return (await client.request(method, path, headers=headers, auth=auth)).status_code


def test_every_route_has_a_row() -> None:
    """A new route is put into the table, which says who may use it; a row without a route is taken out."""
    app = create_app(Settings(temporal_address="127.0.0.1:1"))
    assert sorted(set(routes_of(app))) == sorted(TABLE)


def test_a_route_without_a_row_would_be_found() -> None:
    """The comparison above is able to fail, inside of the mounted interface too."""
    app = create_app(Settings(temporal_address="127.0.0.1:1"))
    app.add_api_route("/api/new", lambda: None, methods=["PATCH"])
    assert set(routes_of(app)) - set(TABLE) == {"PATCH /api/new"}


def test_names_are_not_those_of_the_trail() -> None:
    """The name of a route goes into the audit trail: none may look like a checkpoint of it."""
    app = create_app(Settings(temporal_address="127.0.0.1:1"))
    names = {route.name for route in app.router.routes if isinstance(route, APIRoute)}
    assert "audit.forget" not in names


async def test_without_a_good_token(client: httpx2.AsyncClient) -> None:
    """No token, a wrong one, and one of the right form that nobody was given: 401 on every route that is guarded."""
    for line in GUARDED:
        found = [await ask(client, line, token) for token in (None, "nonsense", WRONG)]
        assert (line, found) == (line, [401, 401, 401])


async def test_public_routes_ask_nobody(client: httpx2.AsyncClient) -> None:
    """Without a token they answer what they answer."""
    for line in sorted(set(TABLE) - set(GUARDED)):
        assert await ask(client, line) not in (401, 403), line


@pytest.mark.parametrize("permission", PERMISSIONS)
async def test_one_permission(client: httpx2.AsyncClient, tokens: dict[str, str], permission: str) -> None:
    """A token with one permission is let in where the table says so, and 403 everywhere else."""
    for line in GUARDED:
        if line.startswith("DELETE /rest"):
            assert (line, await ask(client, line, tokens[permission])) == (line, 403)  # users only
            status = await ask(client, line, user=permission.replace(":", "."))
        else:
            status = await ask(client, line, tokens[permission])
        if permission in TABLE[line]:
            assert status not in (401, 403), f"{line} refuses {permission}: {status}"
        else:
            assert (line, status) == (line, 403)


async def test_every_permission_opens_something() -> None:
    """Each stands in the table, and the table knows no other."""
    assert set().union(*TABLE.values()) == set(PERMISSIONS)


async def test_only_hashes_are_stored(client: httpx2.AsyncClient, make_api: MakeApi, tokens: dict[str, str]) -> None:
    """No file of the data folder holds a token, or a password, or the admin's token."""
    await client.get("/api/assets", headers=ADMIN)
    with sqlite3.connect(make_api.folder / "stanchion.sqlite") as connection:
        assert len(connection.execute("SELECT hash FROM tokens").fetchall()) == len(tokens)
    connection.close()
    content = b"".join(file.read_bytes() for file in make_api.folder.iterdir() if file.is_file())
    for secret in (*tokens.values(), PASSWORD, ADMIN_TOKEN, "a-phantom-token"):
        assert secret.encode() not in content
        assert secret.removeprefix("stn_").encode() not in content


async def test_digests_are_compared_in_constant_time(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The admin's token is compared by the function that takes as long for any difference, and as a digest."""
    seen: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        seen.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr("api.tokens.hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    assert (await client.get("/api/assets", headers={"X-API-Key": "x" + ADMIN_TOKEN[1:]})).status_code == 401
    assert [len(part) for pair in seen for part in pair] == [64, 64]
    assert seen[0][0] != seen[0][1]


def _comparisons(tree: ast.AST) -> Iterator[ast.Compare]:
    for node in ast.walk(tree):
        equal = isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        if equal and ("get_secret_value" in ast.unparse(node) or "hash(" in ast.unparse(node)):
            yield node  # type: ignore[misc]


@pytest.mark.parametrize("folder", ["api", "executions", "engine", "storage"])
def test_no_secret_is_compared_with_equals(folder: str) -> None:
    """``==`` ends at the first difference, and so tells how far a guess was right."""
    for path in (Path(__file__).parents[3] / folder).rglob("*.py"):
        assert [ast.unparse(node) for node in _comparisons(ast.parse(path.read_text()))] == [], path
