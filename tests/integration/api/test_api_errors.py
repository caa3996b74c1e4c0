"""Every error has the one shape, with the right code, on every route."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest


def error_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error of ``answer``, after a look at its shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"status", "error"}
    assert body["status"] == "error"
    error: dict[str, Any] = body["error"]
    assert error["code"] == code
    assert error["message"]
    assert all({"path", "message"} <= set(detail) for detail in error["details"])
    return error


@pytest.mark.parametrize("path", ["/api", "/nothing", "/api/nothing", "/restless", "/api/playbooks/"])
async def test_unknown_route(api: httpx2.AsyncClient, path: str) -> None:
    """An unknown route is 404 in the one shape."""
    error_of(await api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/api/playbooks", "GET, HEAD, POST"),
        ("DELETE", "/api/playbooks", "GET, HEAD, POST"),
        ("POST", "/api/playbooks/some-playbook", "GET, HEAD, PUT, DELETE"),
        ("GET", "/api/playbooks/validate", "POST"),
        ("DELETE", "/api/playbooks/validate", "POST"),
        ("TRACE", "/healthz", "GET, HEAD"),
    ],
)
async def test_method_not_allowed(api: httpx2.AsyncClient, method: str, path: str, allowed: str) -> None:
    """A method that a path lacks is 405, and Allow lists all that it has."""
    answer = await api.request(method, path)
    error_of(answer, 405, "method_not_allowed")
    assert allowed == answer.headers["allow"]


@pytest.mark.parametrize("content", [b"", b"  ", b"{", b"[]", b'"text"', b"null", b'{"a": 1, "a": 2}', b'{"a": NaN}'])
async def test_not_an_object(api: httpx2.AsyncClient, content: bytes) -> None:
    """A body that is no strict JSON object is 400."""
    error_of(await api.post("/api/assets", content=content), 400, "bad_request")


@pytest.mark.parametrize("content", [b'{"name": "\xff"}', b"[" * 100_000, b'{"a": ' * 20_000, b'{"name": "\\ud800"}'])
async def test_hostile_json(api: httpx2.AsyncClient, content: bytes) -> None:
    """JSON that is broken or endlessly deep is 400, not an accident."""
    error_of(await api.post("/api/assets", content=content), 400, "bad_request")


async def test_every_fault_of_a_body(api: httpx2.AsyncClient) -> None:
    """Missing, unknown and mistyped fields are told all at once, each with its JSON Pointer."""
    answer = await api.post("/api/assets", json={"type": 7, "tags": {"a/b": 1}, "colour": "red"})
    paths = {detail["path"] for detail in error_of(answer, 400, "bad_request")["details"]}
    assert {"/name", "/type", "/tags/a~1b", "/colour"} == paths


async def test_unknown_query_parameter(api: httpx2.AsyncClient) -> None:
    """A misspelt filter is refused by name."""
    error = error_of(await api.get("/api/assets?serch=web"), 400, "bad_request")
    assert error["details"] == [{"path": "/query/serch", "message": "unknown query parameter"}]


@pytest.mark.parametrize("query", ["page=0", "page=x", "per_page=0", "per_page=101", "per_page="])
async def test_bad_page(api: httpx2.AsyncClient, query: str) -> None:
    """A page out of range is 400 and names the parameter."""
    error = error_of(await api.get(f"/api/assets?{query}"), 400, "bad_request")
    assert ["/query/" + query.partition("=")[0]] == [detail["path"] for detail in error["details"]]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/yaml", "x"])
async def test_media_type(api: httpx2.AsyncClient, media: str) -> None:
    """A body of a type that the route does not read is 415."""
    answer = await api.post("/api/assets", content=b"{}", headers={"Content-Type": media})
    error_of(answer, 415, "unsupported_media_type")


async def test_charset(api: httpx2.AsyncClient) -> None:
    """A body in another encoding than UTF-8 is 415, since JSON is UTF-8 (RFC 8259)."""
    answer = await api.post("/api/assets", content=b"{}", headers={"Content-Type": "application/json; charset=utf-16"})
    error_of(answer, 415, "unsupported_media_type")


async def test_no_media_type_is_json(api: httpx2.AsyncClient) -> None:
    """A body without a Content-Type is read as JSON."""
    request = api.build_request("POST", "/api/assets", content=b'{"name": "web", "type": "host"}')
    request.headers.pop("content-type", None)
    assert (await api.send(request)).status_code == 201


async def test_announced_too_large(api: httpx2.AsyncClient) -> None:
    """A body that announces more than the limit is 413 before it is read."""
    answer = await api.post("/api/playbooks", content=b"x" * 3_000_000)
    error_of(answer, 413, "too_large")


async def test_streamed_too_large(api: httpx2.AsyncClient) -> None:
    """A body that does not announce its length is 413 as soon as it is over the limit."""
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while taken < 100_000_000:
            taken += 100_000
            yield b"x" * 100_000

    error_of(await api.post("/api/playbooks", content=endless()), 413, "too_large")


async def test_internal_error(api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is 500 in the one shape, and tells nothing of the inside."""

    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr("api.routes.assets.assets.list_assets", broken)
    error = error_of(await api.get("/api/assets"), 500, "internal")
    assert "secret" not in str(error)


async def test_database_away(api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away the answer is 503, says when to try again, and names the dependency."""
    from storage.errors import DatabaseUnavailable

    def away(*args: Any, **kwargs: Any) -> None:
        raise DatabaseUnavailable("disk full")

    monkeypatch.setattr("api.routes.assets.assets.list_assets", away)
    answer = await api.get("/api/assets")
    error = error_of(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "2"
    assert error["details"] == [{"path": "", "message": "database: disk full"}]


async def test_request_id(api: httpx2.AsyncClient) -> None:
    """The caller's request id comes back; one that is no plain word is replaced."""
    kept = await api.get("/healthz", headers={"X-Request-ID": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    replaced = await api.get("/healthz", headers={"X-Request-ID": "no plain word"})
    assert len(replaced.headers["x-request-id"]) == 32
