"""Kinds of runs that are measured, and their load: how long from a start to its end, and how many a second."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2

from bench.site import TOKEN, Site

ABREAST = (1, 20, 100)
"""Runs at once."""

BURSTS = {1: 15, 20: 60, 100: 200}
"""Runs of one round, by how many there are at once."""

LOOKS = {1: 0.003, 20: 0.1, 100: 0.4}
"""Seconds between two looks at a run: a look more often would measure the looks, and not the runs."""

PATIENCE = 120
"""Seconds after which a run that has not ended fails the benchmark."""


@dataclass
class Burst:
    """What one round gave: ms of each run from its POST to its end, ms of each POST, and runs a second."""

    latency: list[float] = field(default_factory=list)
    post: list[float] = field(default_factory=list)
    rate: float = 0.0


@dataclass
class Kind:
    """One kind of run: how to start it, and how to look at it; its rounds by how many were at once."""

    name: str
    start: Callable[[int], Awaitable[str]]
    is_done: Callable[[str], Awaitable[bool]]
    rounds: dict[int, list[Burst]] = field(default_factory=dict)

    async def burst(self, abreast: int, runs: int | None = None) -> None:
        """One round.  Raises an exception group of TimeoutError when a run does not end."""
        found, left = Burst(), iter(range(runs or BURSTS[abreast]))
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for slot in range(abreast):
                group.create_task(self._work(slot, left, found, LOOKS[abreast]))
        found.rate = len(found.latency) / (time.perf_counter() - begun)
        self.rounds.setdefault(abreast, []).append(found)

    async def _work(self, slot: int, left: Any, found: Burst, look: float) -> None:
        for _ in left:
            begun = time.perf_counter()
            run = await self.start(slot)
            found.post.append((time.perf_counter() - begun) * 1000)
            async with asyncio.timeout(PATIENCE):
                while not await self.is_done(run):
                    await asyncio.sleep(look)
            found.latency.append((time.perf_counter() - begun) * 1000)
            if look < 0.01:
                await asyncio.sleep(0.02)  # what comes after the end of a run is not in the next one's way

    def figures(self, abreast: int, what: str) -> list[float]:
        """A figure for each round: ``p50``, ``p95``, ``post p50``, ``post p95`` or ``rate``."""
        rounds = self.rounds[abreast]
        if what == "rate":
            return [one.rate for one in rounds]
        values = [one.post if what.startswith("post") else one.latency for one in rounds]
        share = 0.95 if what.endswith("p95") else 0.5
        return [percentile(each, share) for each in values]


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    if share == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Bench:
    """Starts runs of ours and of the floor's."""

    def __init__(self, place: Site, ours: httpx2.AsyncClient, floor: httpx2.AsyncClient) -> None:
        self.place, self.ours, self.floor = place, ours, floor
        self.assets: list[str] = []

    async def prepare(self) -> list[Kind]:
        """Stores what the runs need; the kinds of runs, the floor first."""
        for number in range(max(ABREAST)):
            asset = await self.post("/api/assets", {"name": f"host-{number}", "type": "host"})
            self.assets.append(asset["id"])
        return [
            Kind("floor", self._start_floor, self._floor_done),
            await self._kind("core.echo", {"action_ref": "core.echo", "parameters": {"x": 1}}),
            await self._kind("core.sleep 0", {"action_ref": "core.sleep", "parameters": {"seconds": 0}}),
        ]

    async def playbook(self, name: str, steps: list[dict[str, Any]]) -> str:
        """The id of a new playbook."""
        return str((await self.post("/api/playbooks", {"name": name, "steps": steps}))["id"])

    async def start(self, playbook: str, slot: int) -> str:
        """Starts a run; 409 is asked again, since a record is settled a moment before its workflow has closed."""
        path, body = f"/api/playbooks/{playbook}/run", {"target_asset_id": self.assets[slot]}
        while True:
            answer = await self.ours.post(path, json=body)
            if answer.status_code == 202:
                return str(answer.json()["execution_id"])
            assert answer.status_code == 409, answer.text
            await asyncio.sleep(0.002)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What was made."""
        answer = await self.ours.post(path, json=body)
        assert answer.status_code in (201, 202), answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def status(self, execution: str) -> str:
        """The state of an execution."""
        return str((await self.ours.get(f"/api/playbooks/executions/{execution}")).json()["status"])

    async def _kind(self, name: str, step: dict[str, Any]) -> Kind:
        playbook = await self.playbook(name.replace(".", " "), [step] * 4)
        return Kind(name, lambda slot: self.start(playbook, slot), self._done)

    async def _done(self, execution: str) -> bool:
        status = await self.status(execution)
        assert status in ("pending", "running", "completed"), status
        return status == "completed"

    async def _start_floor(self, slot: int) -> str:
        return str((await self.floor.post("/run", json={})).json()["id"])

    async def _floor_done(self, workflow: str) -> bool:
        return bool((await self.floor.get(f"/run/{workflow}")).json()["status"] == "completed")


def clients(place: Site) -> tuple[httpx2.AsyncClient, httpx2.AsyncClient]:
    """Clients of ours and of the floor's endpoint."""
    limits = httpx2.Limits(max_connections=200, max_keepalive_connections=200)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    ours = httpx2.AsyncClient(base_url=place.url, headers=headers, limits=limits, timeout=60)
    return ours, httpx2.AsyncClient(base_url=place.floor_url, limits=limits, timeout=60)
