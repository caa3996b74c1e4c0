"""Assets over HTTP."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

GUIDE = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
WEB = {"name": "web-01", "type": "host"}


async def test_create(api: httpx2.AsyncClient) -> None:
    """An asset is answered whole, and Location leads to it."""
    body = {
        **WEB, "id": GUIDE, "hostname": "web-01.example.com", "ip": "192.0.2.10", "url": "https://example.com/",
        "tags": {"env": "prod"}, "attributes": {"owner": {"team": "web"}, "cores": 4},
    }  # fmt: skip
    answer = await api.post("/api/assets", json=body)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/assets/{GUIDE}"
    asset = (await api.get(f"/api/assets/{GUIDE}")).json()
    assert asset == answer.json()
    assert {key: asset[key] for key in body} == body
    assert asset["created_at"].endswith("Z")


async def test_id_is_made(api: httpx2.AsyncClient) -> None:
    """An asset without an id gets a bare UUID."""
    asset = (await api.post("/api/assets", json=WEB)).json()
    assert [len(part) for part in asset["id"].split("-")] == [8, 4, 4, 4, 12]


async def test_id_is_taken(api: httpx2.AsyncClient) -> None:
    """An id that is taken is a conflict."""
    await api.post("/api/assets", json={**WEB, "id": GUIDE})
    answer = await api.post("/api/assets", json={**WEB, "id": GUIDE})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "a\x00b"},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"id": "with space"},
        {"id": ".."},
        {"id": "a:b"},
        {"hostname": "not a host"},
        {"hostname": "-x"},
        {"ip": "300.1.1.1"},
        {"ip": "192.0.2.010"},
        {"url": "ftp://example.com"},
        {"url": "javascript:alert(1)"},
        {"tags": {"env": 1}},
        {"tags": ["env"]},
        {"tags": {"": "x"}},
        {"attributes": []},
        {"type": None},
    ],
)
async def test_bad_asset(api: httpx2.AsyncClient, changes: dict[str, Any]) -> None:
    """A field that does not say what it should is 400, with its place."""
    answer = await api.post("/api/assets", json={**WEB, **changes})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["details"][0]["path"].startswith("/" + next(iter(changes)))


async def test_ipv6(api: httpx2.AsyncClient) -> None:
    """An IPv6 address is kept in its short form (RFC 5952)."""
    asset = (await api.post("/api/assets", json={**WEB, "ip": "2001:DB8:0:0:0:0:0:1"})).json()
    assert asset["ip"] == "2001:db8::1"


async def test_list(api: httpx2.AsyncClient) -> None:
    """The list has pages, by name."""
    for name in ("c", "a", "b"):
        await api.post("/api/assets", json={"name": name, "type": "host"})
    page = (await api.get("/api/assets?page=1&per_page=2")).json()
    assert [asset["name"] for asset in page["data"]] == ["a", "b"]
    assert page["meta"] == {"total": 3, "page": 1, "per_page": 2}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("search=WEB", ["web"]),
        ("type=database", ["db"]),
        ("tag=env%3Dprod", ["web"]),
        ("tag=env", ["db", "web"]),
        ("tag=env%3Dnone", []),
        ("search=192.0.2.7", ["db"]),
    ],
)
async def test_filters(api: httpx2.AsyncClient, query: str, names: list[str]) -> None:
    """The list can be searched, and narrowed to a type or a tag."""
    await api.post("/api/assets", json={"name": "web", "type": "host", "tags": {"env": "prod"}})
    await api.post("/api/assets", json={"name": "db", "type": "database", "tags": {"env": "test"}, "ip": "192.0.2.7"})
    assert [asset["name"] for asset in (await api.get(f"/api/assets?{query}")).json()["data"]] == names


async def test_replace(api: httpx2.AsyncClient) -> None:
    """PUT replaces the whole asset: what is not sent is gone."""
    await api.post("/api/assets", json={**WEB, "id": GUIDE, "ip": "192.0.2.1", "tags": {"env": "prod"}})
    asset = (await api.put(f"/api/assets/{GUIDE}", json={"name": "web-02", "type": "host", "id": GUIDE})).json()
    assert (asset["name"], asset["ip"], asset["tags"]) == ("web-02", None, {})
    assert (await api.get("/api/assets?tag=env")).json()["meta"]["total"] == 0


async def test_answer_can_be_sent_back(api: httpx2.AsyncClient) -> None:
    """What was read can be changed and stored as it is."""
    asset = (await api.post("/api/assets", json=WEB)).json()
    answer = await api.put(f"/api/assets/{asset['id']}", json={**asset, "name": "web-02"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["name"], answer.json()["created_at"]) == ("web-02", asset["created_at"])


async def test_replace_with_another_id(api: httpx2.AsyncClient) -> None:
    """The id of an asset cannot change."""
    await api.post("/api/assets", json={**WEB, "id": GUIDE})
    assert (await api.put(f"/api/assets/{GUIDE}", json={**WEB, "id": "other"})).status_code == 400


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("asset_id", ["nothing", "a%00b", "%20"])
async def test_unknown(api: httpx2.AsyncClient, method: str, asset_id: str) -> None:
    """An asset that does not exist is 404."""
    body = WEB if method == "PUT" else None
    answer = await api.request(method, f"/api/assets/{asset_id}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_delete(api: httpx2.AsyncClient) -> None:
    """A deleted asset is gone."""
    await api.post("/api/assets", json={**WEB, "id": GUIDE})
    assert (await api.delete(f"/api/assets/{GUIDE}")).status_code == 204
    assert (await api.get(f"/api/assets/{GUIDE}")).status_code == 404
    assert (await api.delete(f"/api/assets/{GUIDE}")).status_code == 404
