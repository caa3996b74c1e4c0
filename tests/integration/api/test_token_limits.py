"""Tokens that are limited by labels: what they name is seen, everything else is as if it did not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.app import create_app
from api.labels import CHECKS, LIMITABLE
from settings import Settings
from storage import executions, settlement
from storage.database import Database
from storage.executions import NewExecution
from tests.integration.api.conftest import ADMIN, MakeApi
from tests.integration.api.route_table import routes_of, table

ALL = sorted(LIMITABLE)
LIMITED = {"playbook_tags": ["patching"], "asset_tags": ["env=dev"]}

LISTS = {
    "GET /api/playbooks",
    "GET /api/assets",
    "GET /api/playbooks/executions",
    "GET /api/playbooks/{playbook_id}/executions",
}
"""Routes that leave out what is not seen."""

UNLABELLED = {"GET /api/actions", "GET /api/actions/{name}", "GET /api/schemas/playbook.json"}
"""Routes about nothing that has labels."""


class Site:
    """Two playbooks and two assets, one of each for the token; an execution of each pair."""

    def __init__(self, api: httpx2.AsyncClient, database: Database) -> None:
        self.api, self.database = api, database
        self.playbooks: dict[str, str] = {}
        self.assets: dict[str, str] = {}

    async def post(self, path: str, body: Any, status: int = 201) -> Any:
        """POSTs as the admin."""
        answer = await self.api.post(path, json=body, headers=ADMIN)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def build(self, definition: Callable[..., dict[str, Any]]) -> None:
        """Stores everything; an execution is called by its playbook and its asset."""
        for name, tag in (("Mine", "patching"), ("Theirs", "secret")):
            stored = await self.post("/api/playbooks", definition(name, tags=[tag, "any"]))
            self.playbooks[name.lower()] = stored["id"]
        for name, env in (("mine", "dev"), ("theirs", "prod")):
            asset = {"name": name, "type": "host", "tags": {"env": env, "site": "one"}}
            self.assets[name] = (await self.post("/api/assets", asset))["id"]
        for playbook, playbook_id in self.playbooks.items():
            for asset_name, asset_id in self.assets.items():
                await self.execution(f"exec-{playbook}-{asset_name}", playbook_id, asset_id)

    async def execution(self, execution_id: str, playbook_id: str, asset_id: str) -> None:
        """An execution that was cancelled long ago."""
        new = NewExecution(
            id=execution_id, created_at=1, created_by="a", playbook_id=playbook_id, revision=1, asset_id=asset_id,
            asset={"id": asset_id, "name": "x"}, parameters={}, dry_run=False, workflow_id=f"{playbook_id}:{asset_id}",
        )  # fmt: skip

        def write(connection: Any) -> None:
            executions.insert(connection, new)
            settlement.freeze_cancelled(
                connection, execution_id, record=[["x"]], at=2, by="a", reason=None, started_at=None, finished_at=2
            )
            connection.execute(text("UPDATE executions SET closed_at = 3"))

        await self.database.write(write)

    async def token(self, limits: dict[str, Any] | None = None, *permissions: str) -> dict[str, str]:
        """Headers of a token with these limits."""
        body = {"name": "limited", "permissions": list(permissions) or ALL, "limits": limits or LIMITED}
        return {"X-API-Key": (await self.post("/api/tokens", body))["token"]}

    async def seen(self, path: str, headers: dict[str, str]) -> set[str]:
        """The ids of a list; the total is as many."""
        answer = await self.api.get(path, headers=headers)
        assert answer.status_code == 200, answer.text
        ids = {one.get("id") or one["execution_id"] for one in answer.json()["data"]}
        assert answer.json()["meta"]["total"] == len(ids)
        return ids


@pytest.fixture
async def site(make_api: MakeApi, definition: Callable[..., dict[str, Any]]) -> Site:
    """A site behind an application."""
    api = await make_api(phantom_token=SecretStr("a-phantom-token"))
    built = Site(api, make_api.apps[0].state.services.database)
    await built.build(definition)
    return built


async def test_lists_leave_out_what_is_not_seen(site: Site) -> None:
    """And so does the number of entries; other filters go on working."""
    headers = await site.token()
    assert await site.seen("/api/playbooks", headers) == {site.playbooks["mine"]}
    assert await site.seen("/api/playbooks?tag=any", headers) == {site.playbooks["mine"]}
    assert await site.seen("/api/playbooks?search=theirs", headers) == set()
    assert await site.seen("/api/assets", headers) == {site.assets["mine"]}
    assert await site.seen("/api/assets?tag=site", headers) == {site.assets["mine"]}
    mine = {"exec-mine-mine"}
    assert await site.seen("/api/playbooks/executions", headers) == mine
    assert await site.seen("/api/playbooks/executions?status=cancelled", headers) == mine
    assert await site.seen(f"/api/playbooks/executions?target_asset_id={site.assets['theirs']}", headers) == set()
    assert await site.seen("/api/playbooks/executions?playbook_id=theirs", headers) == set()
    assert await site.seen("/api/playbooks/mine/executions", headers) == mine


@pytest.mark.parametrize(
    ("limits", "playbooks", "assets"),
    [
        ({"playbooks": ["mine"]}, {"mine"}, {"mine", "theirs"}),
        ({"playbooks": ["mine"], "playbook_tags": ["secret"]}, {"mine", "theirs"}, {"mine", "theirs"}),
        ({"playbook_tags": ["none"]}, set(), {"mine", "theirs"}),
        ({"asset_tags": ["env"]}, {"mine", "theirs"}, {"mine", "theirs"}),
        ({"asset_tags": ["env=prod", "env=stage"]}, {"mine", "theirs"}, {"theirs"}),
        ({"asset_tags": ["env=pro"]}, {"mine", "theirs"}, set()),
        ({"asset_tags": ["env="]}, {"mine", "theirs"}, set()),
    ],
)
async def test_what_limits_mean(site: Site, limits: dict[str, Any], playbooks: set[str], assets: set[str]) -> None:
    """Any of the names and tags; with none for playbooks, or for assets, every one."""
    headers = await site.token(limits)
    assert await site.seen("/api/playbooks", headers) == {site.playbooks[name] for name in playbooks}
    assert await site.seen("/api/assets", headers) == {site.assets[name] for name in assets}
    pairs = {f"exec-{playbook}-{asset}" for playbook in playbooks for asset in assets}
    assert await site.seen("/api/playbooks/executions", headers) == pairs


def limited_routes() -> list[str]:
    """The routes that a limited token has a permission for."""
    return sorted(line for line, permissions in table().items() if permissions & LIMITABLE and " /rest" not in line)


def test_every_route_knows_of_limits() -> None:
    """By a parameter of its path, or as a list; a route that is new decides which."""
    assert set(limited_routes()) <= set(routes_of(create_app(Settings(temporal_address="127.0.0.1:1"))))
    for line in limited_routes():
        named = any(f"{{{name}}}" in line for name in CHECKS)
        assert named or line in LISTS | UNLABELLED, f"{line} does not say what a limited token sees of it"


@pytest.mark.parametrize("line", [line for line in limited_routes() if "{" in line and line not in UNLABELLED])
@pytest.mark.parametrize("target", ["theirs", "none"])
async def test_what_is_not_seen_does_not_exist(site: Site, line: str, target: str) -> None:
    """The same answer for what others have and for what nobody has, by id and by slug, before any body is read."""
    headers = await site.token()
    method, _, path = line.partition(" ")
    names = {
        "playbook_id": site.playbooks.get(target, target), "asset_id": site.assets.get(target, target),
        "execution_id": f"exec-{target}-mine", "other": "exec-mine-theirs",
        "number": "1", "name": "report.html", "action_id": "act-001",
    }  # fmt: skip
    for slug in (False, True):
        values = names | ({"playbook_id": target} if slug else {})
        answer = await site.api.request(method, path.format(**values), headers=headers, content=b"{")
        told = answer.json()["error"]
        assert (answer.status_code, told["code"]) == (404, "not_found")
        named = next(values[name] for name in values if f"{{{name}}}" in path and name in CHECKS)
        assert told["message"].endswith(f"{named!r}.")


async def test_the_second_execution_of_a_comparison_is_held_to_the_limits(site: Site) -> None:
    """Whichever of the two is not seen."""
    headers = await site.token()
    for pair in (("exec-mine-mine", "exec-mine-theirs"), ("exec-theirs-mine", "exec-mine-mine")):
        answer = await site.api.get("/api/playbooks/executions/{}/compare/{}".format(*pair), headers=headers)
        assert answer.status_code == 404


async def test_what_is_seen_is_read(site: Site) -> None:
    """Also after somebody without limits has read it, and the other way round."""
    headers = await site.token()
    for path in ("exec-mine-mine", "exec-theirs-mine", "exec-mine-theirs"):
        assert (await site.api.get(f"/api/playbooks/executions/{path}", headers=ADMIN)).status_code == 200
        expected = 200 if path == "exec-mine-mine" else 404
        assert (await site.api.get(f"/api/playbooks/executions/{path}", headers=headers)).status_code == expected
    for path in ("/api/playbooks/mine", f"/api/assets/{site.assets['mine']}"):
        assert (await site.api.get(path, headers=headers)).status_code == 200


async def test_a_run_on_an_asset_that_is_not_seen(site: Site) -> None:
    """As on one that does not exist, and nothing is started."""
    headers = await site.token()
    for asset in (site.assets["theirs"], "none"):
        answer = await site.api.post("/api/playbooks/mine/run", json={"target_asset_id": asset}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, f"There is no asset {asset!r}.")
    assert await site.seen("/api/playbooks/executions", headers) == {"exec-mine-mine"}


async def test_labels_are_those_of_now(site: Site, definition: Callable[..., dict[str, Any]]) -> None:
    """A playbook or an asset that changes its labels is seen from then on, or no more; a deleted one as it was."""
    headers = await site.token()
    body = {"name": "mine", "type": "host", "tags": {"env": "prod"}}
    assert (await site.api.put(f"/api/assets/{site.assets['mine']}", json=body, headers=ADMIN)).status_code == 200
    assert await site.seen("/api/playbooks/executions", headers) == set()
    body["tags"] = {"env": "dev"}
    await site.api.put(f"/api/assets/{site.assets['mine']}", json=body, headers=ADMIN)
    assert (await site.api.delete("/api/playbooks/mine", headers=ADMIN)).status_code == 204
    assert (await site.api.delete(f"/api/assets/{site.assets['mine']}", headers=ADMIN)).status_code == 204
    assert await site.seen("/api/playbooks/executions", headers) == {"exec-mine-mine"}
    assert (await site.api.get("/api/playbooks/executions/exec-mine-mine", headers=headers)).status_code == 200


async def test_the_phantom_interface_refuses_a_limited_token(site: Site) -> None:
    """Its containers have no labels that a token could be held to."""
    token = (await site.token({"playbooks": ["mine"]}))["X-API-Key"]
    for path in ("version", "container", "playbook", "playbook_run"):
        answer = await site.api.get(f"/rest/{path}", headers={"ph-auth-token": token})
        assert answer.status_code == 403
        assert "limited" in answer.json()["message"]


@pytest.mark.parametrize(
    ("permissions", "limits", "path"),
    [
        (["playbook:write"], {"playbooks": ["mine"]}, "/permissions"),
        (["token:admin", "playbook:read"], {"playbooks": ["mine"]}, "/permissions"),
        (["asset:write"], LIMITED, "/permissions"),
        (["audit:read"], LIMITED, "/permissions"),
        (["asset:read"], {}, "/limits"),
        (["asset:read"], {"asset_tags": []}, "/limits"),
        (["asset:read"], {"asset_tags": [""]}, "/limits/asset_tags/0"),
        (["asset:read"], {"asset_tags": "env"}, "/limits/asset_tags"),
        (["asset:read"], {"tags": ["env"]}, "/limits/tags"),
    ],
)
async def test_bad_limits(api: httpx2.AsyncClient, permissions: list[str], limits: dict[str, Any], path: str) -> None:
    """A limited token cannot write, for then it could widen its limits; limits that limit nothing are a mistake."""
    answer = await api.post("/api/tokens", json={"name": "x", "permissions": permissions, "limits": limits})
    assert answer.status_code == 400
    assert [detail["path"] for detail in answer.json()["error"]["details"]] == [path]


async def test_limits_are_told(api: httpx2.AsyncClient) -> None:
    """When the token is made, in the list, and in the audit trail."""
    body = {"name": "x", "permissions": ["asset:read"], "limits": {"asset_tags": ["env=dev", "env=dev"]}}
    told = {"playbooks": [], "playbook_tags": [], "asset_tags": ["env=dev"]}
    assert (await api.post("/api/tokens", json=body)).json()["limits"] == told
    assert (await api.get("/api/tokens")).json()["data"][0]["limits"] == told
    assert (await api.get("/api/audit")).json()["data"][0]["details"]["limits"] == told
