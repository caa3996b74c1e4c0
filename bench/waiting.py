"""Measures many runs that wait for approval at once: memory, and how soon all are alive after kill -9 of everything.

    python -m bench.waiting [COUNT]

A run is alive when it takes a decision; after the kill every run is approved, and all must complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from bench.site import _resident
from tests.house import House, Part

PARTS: tuple[Part, ...] = ("temporal", "worker", "api")
ABREAST = 20
"""Requests at the same time."""


async def each(count: int, work: Any) -> list[Any]:
    """``work(n)`` for every n below ``count``, some at the same time; the results in order."""
    limit = asyncio.Semaphore(ABREAST)

    async def one(number: int) -> Any:
        async with limit:
            return await work(number)

    return await asyncio.gather(*[one(number) for number in range(count)])


def memory(house: House) -> str:
    """Resident memory of each process."""
    return ", ".join(f"{part} {_resident(house.pid(part)):.0f} MB" for part in PARTS)


async def start(house: House, count: int) -> list[str]:
    """Starts ``count`` runs of one playbook, each on an asset of its own, and waits until all wait."""
    steps = [{"id": "ask", "type": "approval"}]
    playbook = await house.post("/api/playbooks", {"name": "Waiting", "steps": steps}, 201)
    async with house.http as http:

        async def one(number: int) -> str:
            asset = await http.post("/api/assets", json={"name": f"host-{number}", "type": "host"})
            body = {"target_asset_id": asset.json()["id"]}
            started = await http.post(f"/api/playbooks/{playbook['id']}/run", json=body)
            assert started.status_code == 202, started.text
            return str(started.json()["execution_id"])

        found = await each(count, one)
        for execution in found:
            while not (await http.get(f"/api/playbooks/executions/{execution}")).json()["steps"][0]["waiting_for"]:
                await asyncio.sleep(0.05)
    return [str(execution) for execution in found]


async def approve(house: House, executions: list[str]) -> None:
    """Approves every run, again where nobody answers yet, and waits until all have completed."""
    async with house.http as http:

        async def one(number: int) -> None:
            url = f"/api/playbooks/executions/{executions[number]}"
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = await http.post(f"{url}/steps/ask/approve")
                    if answer.status_code in (200, 409):
                        break
                await asyncio.sleep(0.1)
            while (await http.get(url)).json()["status"] != "completed":
                await asyncio.sleep(0.05)

        await each(len(executions), one)


async def main(count: int) -> None:
    """Prints every row."""
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as text:
        house = House(Path(text))
        try:
            await house.prepare()
            print(f"at rest: {memory(house)}", flush=True)
            begun = time.perf_counter()
            executions = await start(house, count)
            print(f"{count} runs wait after {time.perf_counter() - begun:.1f} s: {memory(house)}", flush=True)
            house.kill(*PARTS)
            begun = time.perf_counter()
            for part in PARTS:
                house.start(part)
            await house.ready()
            print(f"ready again after kill -9 of everything: {time.perf_counter() - begun:.1f} s", flush=True)
            await approve(house, executions)
            print(f"all approved and completed: {time.perf_counter() - begun:.1f} s, {memory(house)}", flush=True)
        finally:
            house.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
