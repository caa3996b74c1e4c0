"""Measures long and wide runs: cost of a step as a run grows, loops of thousands, hundreds of branches.

    python -m bench.long

Rows are printed as they are measured.  The branches are held against a hand-written workflow of as many activities.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import httpx2

from bench.site import TOKEN, Site, site

PATIENCE = 600
"""Seconds after which a run that has not ended fails the benchmark."""

ECHO: dict[str, Any] = {"action_ref": "core.echo", "parameters": {"x": 1}}
NAP: dict[str, Any] = {"action_ref": "core.sleep", "parameters": {"seconds": 0}}
BRANCHES = 200


class Long:
    """Long runs, one after another."""

    def __init__(self, place: Site, http: httpx2.AsyncClient, floor: httpx2.AsyncClient) -> None:
        self.place, self.http, self.floor = place, http, floor
        self.count = 0

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POSTs what must be taken."""
        answer = await self.http.post(path, json=body)
        assert answer.status_code in (201, 202), answer.text[:2000]
        result: dict[str, Any] = answer.json()
        return result

    async def run(self, steps: list[dict[str, Any]]) -> tuple[float, dict[str, Any]]:
        """Seconds from the first step's start to the run's end, and the status."""
        self.count += 1
        playbook = await self.post("/api/playbooks", {"name": f"Long {self.count}", "steps": steps})
        asset = await self.post("/api/assets", {"name": f"host-{self.count}", "type": "host"})
        started = await self.post(f"/api/playbooks/{playbook['id']}/run", {"target_asset_id": asset["id"]})
        return await self._end(started["execution_id"])

    async def _end(self, execution: str) -> tuple[float, dict[str, Any]]:
        begun = time.perf_counter()
        url = f"/api/playbooks/executions/{execution}"
        async with asyncio.timeout(PATIENCE):
            while True:
                status: dict[str, Any] = (await self.http.get(url)).json()
                if status["status"] not in ("pending", "running"):
                    break
                await asyncio.sleep(min(0.5, (time.perf_counter() - begun) / 20))
        assert status["status"] == "completed", json.dumps(status)[:2000]
        return time.perf_counter() - begun, status

    async def steps(self, kind: str, step: dict[str, Any]) -> None:
        """Milliseconds a step for plans of growing length."""
        first = 0.0
        for count in (10, 10, 100, 1000, 5000):
            seconds, status = await self.run([step] * count)
            each = seconds * 1000 / count
            first = each if count == 10 else first
            events = await history(self.place, status)
            print(f"{kind} × {count}: {each:.2f} ms a step, ratio to 10 steps {each / first:.2f}, {events}", flush=True)

    async def loop(self) -> None:
        """10,000 iterations of a loop."""
        for concurrency, step in ((50, ECHO), (50, NAP)):
            loop = {"type": "foreach", "items": list(range(10_000)), "steps": [step], "concurrency": concurrency}
            seconds, status = await self.run([loop])
            memory = self.place.memory_mb()
            name = step["action_ref"]
            what = f"foreach of 10,000 {name}, {concurrency} at a time"
            told = await history(self.place, status)
            print(f"{what}: {seconds:.1f} s, worker {memory['worker']['resident']:.0f} MB, {told}", flush=True)

    async def branches(self) -> None:
        """200 branches against 200 activities of a hand-written workflow, in turns."""
        ours, theirs = [], []
        for _ in range(5):
            seconds, _ = await self.run([{"type": "parallel", "branches": [[NAP]] * BRANCHES}])
            ours.append(seconds)
            begun = time.perf_counter()
            answer = await self.floor.post("/wide", json={"count": BRANCHES})
            assert answer.status_code == 200, answer.text
            theirs.append(time.perf_counter() - begun)
        mine, floor = sorted(ours)[2], sorted(theirs)[2]
        print(f"{BRANCHES} branches: {mine:.2f} s against {floor:.2f} s by hand, ratio {mine / floor:.2f}", flush=True)


async def history(place: Site, status: dict[str, Any]) -> str:
    """Parts, events and bytes of the history of a run."""
    from temporalio.client import Client

    client = await Client.connect(place.temporal)
    workflow_id, run_id = status["temporal"]["workflow_id"], status["temporal"]["run_id"]
    # Its record is settled a moment before its last events are written.
    await client.get_workflow_handle(workflow_id, run_id=run_id).result()
    parts, events, size = 0, 0, 0
    while run_id:
        found = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        parts, events = parts + 1, events + len(found.events)
        size += sum(event.ByteSize() for event in found.events)
        run_id = found.events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    steps = max(1, len(status["steps"]))
    tally = next((step["iterations"]["completed"] for step in status["steps"] if "iterations" in step), steps)
    each = f"{events / tally:.1f} events and {size / tally:.0f} bytes a step"
    return f"{events} events and {size} bytes in {parts} parts: {each}"


async def measure(place: Site) -> None:
    """Prints every row."""
    limits = httpx2.Timeout(60)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(base_url=place.url, headers=headers, timeout=limits) as http,
        httpx2.AsyncClient(base_url=place.floor_url, timeout=limits) as floor,
    ):
        long = Long(place, http, floor)
        await long.steps("core.echo", ECHO)
        await long.steps("core.sleep 0", NAP)
        await long.branches()
        await long.loop()


def main() -> None:
    """Entry."""
    os.environ.setdefault("STANCHION_MAX_BODY_BYTES", "4000000")
    with site() as place:
        asyncio.run(measure(place))


if __name__ == "__main__":
    main()
