"""A token that is limited by labels, at work: it does everything with what is its own, and nothing else."""

from __future__ import annotations

import httpx2

from tests.stack import Stack

ASK = [{"name": "May I", "type": "approval", "message": "?"}]


async def limited(stack: Stack, limits: dict[str, list[str]]) -> httpx2.AsyncClient:
    """A client with a token of these limits."""
    body = {"name": "limited", "permissions": ["playbook:read", "playbook:execute", "asset:read"], "limits": limits}
    answer = await stack.http.post("/api/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return httpx2.AsyncClient(base_url=stack.url, headers={"X-API-Key": answer.json()["token"]}, timeout=30)


async def test_a_limited_token_at_work(stack: Stack) -> None:
    """The runs of two teams beside each other: each team's token does everything with its own, 404 with the others'."""
    playbook = await stack.playbook(ASK, tags=["shared"])
    assets = {team: await stack.asset(name=team, tags={"team": team}) for team in ("red", "blue")}
    runs: dict[str, str] = {}
    clients = {
        team: await limited(stack, {"playbook_tags": ["shared"], "asset_tags": [f"team={team}"]}) for team in assets
    }
    for team, client in clients.items():
        body = {"target_asset_id": assets[team]["id"]}
        answer = await client.post(f"/api/playbooks/{playbook['id']}/run", json=body)
        assert answer.status_code == 202, answer.text
        runs[team] = answer.json()["execution_id"]
        await stack.until_step(runs[team], 0, "running")
    for team, other in (("red", "blue"), ("blue", "red")):
        assert await _all(clients[team], runs[other]) == {404}
    path = "/api/playbooks/executions"
    for team, client in clients.items():
        listed = (await client.get(f"{path}?status=running")).json()
        assert [one["execution_id"] for one in listed["data"]] == [runs[team]]
    step = (await stack.status(runs["red"]))["steps"][0]["action_id"]
    assert (await clients["red"].post(f"{path}/{runs['red']}/steps/{step}/approve")).status_code == 200
    assert (await stack.finish(runs["red"]))["status"] == "completed"
    async with clients["red"].stream("GET", f"{path}/{runs['red']}/events") as events:
        assert events.status_code == 200
    assert (await clients["blue"].post(f"{path}/{runs['blue']}/cancel")).status_code == 200
    assert (await stack.finish(runs["blue"]))["status"] == "cancelled"
    assert (await clients["blue"].post(f"{path}/{runs['blue']}/rerun")).status_code == 202
    for client in clients.values():
        await client.aclose()


async def _all(client: httpx2.AsyncClient, execution: str) -> set[int]:
    """What every request about an execution is answered."""
    path = f"/api/playbooks/executions/{execution}"
    reads = [await client.get(f"{path}{part}") for part in ("", "?include=io", "/events", "/artifacts", "/artifacts/a")]
    acts = [
        await client.post(f"{path}/{act}")
        for act in ("cancel", "rerun", "steps/act-001/approve", "steps/act-001/reject")
    ]
    return {answer.status_code for answer in (*reads, *acts)}
