"""Measures runs, starts, reads and cancels against the floor, interleaved, and prints a ratio for each row.

    python -m bench.run [ROUNDS]

The load is bounded and goes to loopback only.  Medians over the rounds; ratios are taken round by round.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

from bench.reads import CONNECTIONS, reads_a_second
from bench.rows import Noise, row, show
from bench.runs import ABREAST, Bench, Kind, clients
from bench.site import TOKEN, Site, site

AIMS = {
    ("core.echo", 1, "p50"): "≤ 0.5",
    ("core.echo", 20, "rate"): "≥ 2",
    ("core.sleep 0", 1, "p50"): "≤ 1.05",
    ("core.sleep 0", 20, "rate"): "≥ 0.95",
}
CANCELS = 10
WAIT = {"type": "delay", "name": "Wait", "duration": "1h"}


class Reads:
    """Reads of runs, ours and the floor's."""

    def __init__(self, bench: Bench, paths: dict[str, str]) -> None:
        self.bench, self.paths = bench, paths
        self.found: dict[str, list[float]] = {name: [] for name in paths}

    async def round(self) -> None:
        """One round."""
        for name, path in self.paths.items():
            mine = path.startswith("/api")
            base = self.bench.place.url if mine else self.bench.place.floor_url
            headers = {"Authorization": f"Bearer {TOKEN}"} if mine else None
            self.found[name].append(await reads_a_second(base + path, headers))


class Cancels:
    """Cancels: from the request until it can be read."""

    def __init__(self, bench: Bench, waiting: str) -> None:
        self.bench, self.waiting = bench, waiting
        self.ours: list[float] = []
        self.floor: list[float] = []

    async def round(self) -> None:
        """One round of each."""
        self.ours.append(statistics.median([await self._ours() for _ in range(CANCELS)]))
        self.floor.append(statistics.median([await self._floor() for _ in range(CANCELS)]))

    async def _ours(self) -> float:
        run = await self.bench.start(self.waiting, 1)
        while await self.bench.status(run) != "running":
            await asyncio.sleep(0.01)
        begun = time.perf_counter()
        answer = await self.bench.ours.post(f"/api/playbooks/executions/{run}/cancel", json={})
        assert answer.status_code == 200, answer.text
        while await self.bench.status(run) != "cancelled":
            await asyncio.sleep(0.003)
        return (time.perf_counter() - begun) * 1000

    async def _floor(self) -> float:
        run = (await self.bench.floor.post("/wait", json={})).json()["id"]
        await asyncio.sleep(0.1)
        begun = time.perf_counter()
        await self.bench.floor.post(f"/run/{run}/cancel", json={})
        while (await self.bench.floor.get(f"/run/{run}")).json()["status"] != "canceled":
            await asyncio.sleep(0.003)
        return (time.perf_counter() - begun) * 1000


async def measure(place: Site, rounds: int) -> None:
    """All rounds; prints the figures."""
    ours, floor = clients(place)
    noise = Noise()
    async with ours, floor:
        bench = Bench(place, ours, floor)
        kinds = await bench.prepare()
        for kind in kinds:
            await kind.burst(1, 5)
            kind.rounds.clear()
        hand, settled = await kinds[0].start(0), await kinds[1].start(0)
        waiting = await bench.playbook("Waiting", [WAIT] * 4)
        running = await bench.start(waiting, 0)
        paths = {"floor": f"/run/{hand}", "running": f"/api/playbooks/executions/{running}"}
        reads = Reads(bench, {**paths, "settled": f"/api/playbooks/executions/{settled}"})
        cancels = Cancels(bench, waiting)
        for _ in range(rounds):
            for abreast in ABREAST:
                for kind in kinds:
                    await kind.burst(abreast)
            await reads.round()
            await cancels.round()
            noise.sample()
    print(noise.told())
    show(_rows(kinds, reads.found, cancels))


def _rows(kinds: list[Kind], reads: dict[str, list[float]], cancels: Cancels) -> list[list[str]]:
    floor, *others = kinds
    rows = []
    for kind in others:
        for abreast in ABREAST:
            for what, unit in (("p50", "ms"), ("p95", "ms"), ("rate", "runs/s")):
                name = f"{kind.name} × 4, {abreast} at once: " + (unit if what == "rate" else f"{what}, {unit}")
                figures = [one.figures(abreast, what) for one in (kind, floor)]
                rows.append(row(name, *figures, AIMS.get((kind.name, abreast, what), "")))
    for what, aim in (("p50", "≤ 1.3"), ("p95", "")):
        figures = [one.figures(1, f"post {what}") for one in (others[0], floor)]
        rows.append(row(f"POST, {what}, ms", *figures, aim))
    for name, aim in (("running", "≥ 0.9"), ("settled", "≥ 3")):
        rows.append(row(f"GET of a {name} run, requests/s at {CONNECTIONS}", reads[name], reads["floor"], aim))
    rows.append(row("cancel → readable, ms", cancels.ours, cancels.floor))
    return rows


if __name__ == "__main__":
    with site() as built:
        asyncio.run(measure(built, int(sys.argv[1]) if len(sys.argv) > 1 else 4))
