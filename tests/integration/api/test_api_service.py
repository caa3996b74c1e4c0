"""What stands around the resources: health, metrics, rate limit, actions, the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

MakeApi = Callable[..., Awaitable[httpx2.AsyncClient]]
ADMIN = {"Authorization": "Bearer an-admin-token-for-tests"}


async def test_live(anonymous: httpx2.AsyncClient) -> None:
    """The process is alive, for anyone who asks."""
    assert (await anonymous.get("/healthz")).json() == {"status": "ok"}


async def test_head(api: httpx2.AsyncClient) -> None:
    """HEAD answers as GET does, without the content."""
    answer = await api.head("/api/assets")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == (await api.get("/api/assets")).headers["content-length"]
    assert (await api.head("/api/assets/nothing")).status_code == 404
    assert (await api.head("/api/playbooks/validate")).status_code == 405


async def test_not_ready(anonymous: httpx2.AsyncClient) -> None:
    """While Temporal is away the service is not ready, and says of each dependency how it is."""
    answer = await anonymous.get("/readyz")
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "unavailable"
    states = {dependency["name"]: dependency["state"] for dependency in error["dependencies"]}
    assert states == {"database": "ok", "temporal": "unavailable", "workers": "unavailable"}


async def test_metrics(api: httpx2.AsyncClient) -> None:
    """Requests are counted by route, method and status, never by id."""
    await api.get("/api/assets/some-id")
    text = (await api.get("/metrics")).text
    assert 'stanchion_http_requests_total{method="GET",route="/api/assets/{asset_id}",status="404"} 1.0' in text
    assert "some-id" not in text
    assert "stanchion_build_info" in text


async def test_unmatched_metrics(api: httpx2.AsyncClient) -> None:
    """Unknown routes and methods share one label, so that a scan cannot fill the memory."""
    await api.get("/some/path")
    await api.request("NONSENSE", "/healthz")
    text = (await api.get("/metrics")).text
    assert 'route="unmatched"' in text
    assert "/some/path" not in text
    assert "NONSENSE" not in text


async def test_rate_limit(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request too many is 429 with the time to wait; in the next minute it goes on."""
    now = 1_000_000.0
    monkeypatch.setattr("api.limits.time.time", lambda: now)
    api = await make_api(rate_limit=2)
    answers = [await api.get("/api/assets", headers=ADMIN) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["retry-after"] == "20"
    assert answers[2].headers["x-ratelimit-limit"] == "2"
    assert answers[2].headers["x-ratelimit-reset"] == "1000020"
    now = 1_000_020.0
    assert (await api.get("/api/assets", headers=ADMIN)).status_code == 200


async def test_rate_limit_of_strangers(make_api: MakeApi) -> None:
    """Bad logins count for the address, so that tokens cannot be tried for ever; a good one goes on."""
    api = await make_api(rate_limit=2)
    codes = [(await api.get("/api/assets", headers={"X-API-Key": f"guess-{n}"})).status_code for n in range(3)]
    assert codes == [401, 401, 429]
    assert (await api.get("/api/assets", headers=ADMIN)).status_code == 200


async def test_rate_limit_headers_everywhere(make_api: MakeApi) -> None:
    """Answers that reach no route carry the headers too."""
    api = await make_api(rate_limit=100)
    assert (await api.get("/api/nothing")).headers["x-ratelimit-limit"] == "100"


async def test_no_rate_limit(api: httpx2.AsyncClient) -> None:
    """Without the setting there is no limit and there are no headers."""
    assert "x-ratelimit-limit" not in (await api.get("/api/assets")).headers


async def test_actions(api: httpx2.AsyncClient) -> None:
    """The catalogue lists the actions with what they take, what they give, and what their dry run does."""
    listed = (await api.get("/api/actions?per_page=100")).json()
    names = [action["name"] for action in listed["data"]]
    assert names == sorted(names)
    assert {"core.echo", "http.request", "script.run"} <= set(names)
    assert listed["meta"]["total"] == len(names)
    assert listed["left_out"] == []


async def test_action(api: httpx2.AsyncClient) -> None:
    """One action is read by its name; an unknown one is 404."""
    action = (await api.get("/api/actions/core.sleep")).json()
    assert action["idempotent"] is True
    assert action["dry_run"]
    assert "seconds" in action["input_schema"]["properties"]
    assert (await api.get("/api/actions/no.such")).status_code == 404


async def test_openapi(api: httpx2.AsyncClient) -> None:
    """The document is served, and every answer that it names has a schema that it holds."""
    document = (await api.get("/openapi.json")).json()
    assert document["info"]["title"] == "Stanchion"
    assert "/api/playbooks/{playbook_id}" in document["paths"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


async def test_errors_are_declared(app: FastAPI) -> None:
    """Every operation under /api declares the errors that any of them can answer with."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/api/"):
                assert {"400", "401", "403", "429", "500", "503"} <= set(operation["responses"]), (method, path)


async def test_docs(api: httpx2.AsyncClient) -> None:
    """The page to try the interface loads nothing from anywhere else."""
    page = await api.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [found for part in value.values() for found in _references(part)]
    if isinstance(value, list):
        return [found for part in value for found in _references(part)]
    return []
