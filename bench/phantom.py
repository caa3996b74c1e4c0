"""Measures the Phantom interface against the native one, interleaved: reads of a run, and starts.

    python -m bench.phantom [rounds]

The load is bounded and goes to loopback only.  Medians over the rounds; ratios are taken round by round.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import statistics
import sys
import time
from typing import Any

import httpx2

from bench.reads import reads_a_second
from bench.site import TOKEN, Site, site

STARTS = 60
PASSWORD = "bench-password"


BASIC = {"Authorization": "Basic " + base64.b64encode(f"bench:{PASSWORD}".encode()).decode()}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def starts(http: httpx2.AsyncClient, path: str, bodies: Any, status: int) -> float:
    """Median ms of a start, one after the other."""
    taken = []
    for body in itertools.islice(bodies, STARTS):
        begun = time.perf_counter()
        answer = await http.post(path, json=body)
        taken.append(time.perf_counter() - begun)
        assert answer.status_code == status, answer.text
        await asyncio.sleep(0.03)
    return statistics.median(taken) * 1000


async def measure(place: Site, rounds: int) -> dict[str, dict[str, list[float]]]:
    """All rounds, by what is measured and by who."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=place.url, headers=BEARER, limits=limits, timeout=60) as ours:
        body = {"username": "bench", "password": PASSWORD, "permissions": ["asset:read", "asset:write",
                "playbook:execute", "playbook:read"]}  # fmt: skip
        assert (await ours.post("/api/users", json=body)).status_code == 201
        auth = ("bench", PASSWORD)
        async with httpx2.AsyncClient(base_url=place.url, auth=auth, limits=limits, timeout=60) as theirs:
            return await _measure(ours, theirs, rounds)


async def _measure(
    ours: httpx2.AsyncClient, theirs: httpx2.AsyncClient, rounds: int
) -> dict[str, dict[str, list[float]]]:
    async def post(http: httpx2.AsyncClient, path: str, body: Any) -> Any:
        answer = await http.post(path, json=body)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    quick = await post(ours, "/api/playbooks", {"name": "quick", "steps": [_echo()] * 4})
    wait = {"type": "delay", "name": "Wait", "duration": "1h"}
    waiting = await post(ours, "/api/playbooks", {"name": "waiting", "steps": [wait] * 4})
    count = STARTS * rounds + 1
    assets = [(await post(ours, "/api/assets", {"name": f"h{n}", "type": "host"}))["id"] for n in range(count)]
    container = (await post(theirs, "/rest/container", {"name": "x", "artifacts": [{"cef": {"a": 1}}]}))["id"]
    paths: dict[str, tuple[str, str]] = {}
    for name, playbook in (("settled", quick), ("running", waiting)):
        native = await post(ours, f"/api/playbooks/{playbook['id']}/run", {"target_asset_id": assets[0]})
        asked = {"container_id": container, "playbook_id": playbook["name"], "run": True}
        run = (await post(theirs, "/rest/playbook_run", asked))["playbook_run_id"]
        paths[name] = (f"/rest/playbook_run/{run}", f"/api/playbooks/executions/{native['execution_id']}")
    await asyncio.sleep(2)
    found: dict[str, dict[str, list[float]]] = {
        name: {"phantom": [], "native": []} for name in ("settled GET/s", "running GET/s", "POST p50 ms")
    }
    fresh = iter(assets[1:])
    base = str(ours.base_url).rstrip("/")
    for _ in range(rounds):
        for name, (phantom, native) in paths.items():
            found[f"{name} GET/s"]["phantom"].append(await reads_a_second(base + phantom, BASIC))
            found[f"{name} GET/s"]["native"].append(await reads_a_second(base + native, BEARER))
        asked = {"container_id": container, "playbook_id": "quick", "run": True}
        found["POST p50 ms"]["phantom"].append(await starts(theirs, "/rest/playbook_run", itertools.repeat(asked), 200))
        bodies = ({"target_asset_id": asset} for asset in fresh)
        found["POST p50 ms"]["native"].append(await starts(ours, f"/api/playbooks/{quick['id']}/run", bodies, 202))
    return found


def _echo() -> dict[str, Any]:
    return {"action_ref": "core.echo", "parameters": {"x": 1}}


def main() -> None:
    """Measures and prints."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with site() as place:
        found = asyncio.run(measure(place, rounds))
    print("| what | Phantom | native | ratio | rounds |\n| --- | --- | --- | --- | --- |")
    for name, sides in found.items():
        ratios = [one / other for one, other in zip(sides["phantom"], sides["native"], strict=True)]
        medians = [statistics.median(sides[side]) for side in ("phantom", "native")]
        print(f"| {name} | {medians[0]:.1f} | {medians[1]:.1f} | {statistics.median(ratios):.2f} "
              f"| {min(ratios):.2f}–{max(ratios):.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
