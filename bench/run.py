"""Measures Stanchion against the floor, interleaved in one run, and prints a ratio for each row.

    make bench           (python -m bench.run [--rounds N])

The load is bounded and goes to loopback only.  Medians over the rounds; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from bench.site import ROOT, TOKEN, Site, _end, _free_port, site

RESULTS = ROOT / "bench" / "results"
SINGLE_RUNS = 15
"""Runs in a row for one latency figure of one round."""
BURST = 60
"""Runs of one throughput figure of one round."""
CONCURRENCY = 20
CONNECTIONS = 16
READS = 800
LOOK = 0.003
"""Seconds between two looks at a run whose end is waited for, the same for all."""

GLANCE = 0.1
"""The same where many runs are under way: a look more often would measure the looks, and not the runs."""
PATIENCE = 60
"""Seconds after which a run that has not ended fails the benchmark."""


@dataclass
class Kind:
    """One kind of run: how to start it, and how to look at it."""

    name: str
    start: Callable[[int], Awaitable[str]]
    is_done: Callable[[str], Awaitable[bool]]
    latency: list[float] = field(default_factory=list)
    post: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


class Bench:
    """The measurements of one run of the benchmark."""

    def __init__(self, place: Site, ours: httpx2.AsyncClient, floor: httpx2.AsyncClient) -> None:
        self.place, self.ours, self.floor_http = place, ours, floor
        self.assets: list[str] = []
        self.reads: dict[str, list[float]] = {"floor describe": [], "running GET": [], "settled GET": []}

    async def prepare(self) -> list[Kind]:
        """Stores what the runs need; the kinds of runs."""
        self.assets = [
            (await self._post("/api/assets", {"name": f"host-{number}", "type": "host"}))["id"]
            for number in range(CONCURRENCY)
        ]
        return [
            Kind("floor", self._start_floor, self._floor_done),
            await self._kind("core.echo", {"action_ref": "core.echo", "parameters": {"x": 1}}),
            await self._kind("core.sleep 0", {"action_ref": "core.sleep", "parameters": {"seconds": 0}}),
        ]

    async def _kind(self, name: str, step: dict[str, Any]) -> Kind:
        playbook = await self._post("/api/playbooks", {"name": name.replace(".", " "), "steps": [step] * 4})

        async def start(slot: int) -> str:
            path = f"/api/playbooks/{playbook['id']}/run"
            started = await self._post(path, {"target_asset_id": self.assets[slot]}, again=True)
            return str(started["execution_id"])

        return Kind(name, start, self._done)

    async def _post(self, path: str, body: dict[str, Any], again: bool = False) -> dict[str, Any]:
        while True:
            answer = await self.ours.post(path, json=body)
            if again and answer.status_code == 409:
                continue  # the record is settled a moment before its workflow has closed
            assert answer.status_code in (201, 202), answer.text
            result: dict[str, Any] = answer.json()
            return result

    async def _start_floor(self, slot: int) -> str:
        answer = await self.floor_http.post("/run", json={})
        return str(answer.json()["id"])

    async def _floor_done(self, workflow_id: str) -> bool:
        return bool((await self.floor_http.get(f"/run/{workflow_id}")).json()["status"] == "completed")

    async def _done(self, execution_id: str) -> bool:
        answer = (await self.ours.get(f"/api/playbooks/executions/{execution_id}")).json()
        assert answer["status"] in ("pending", "running", "completed"), answer
        return bool(answer["status"] == "completed")

    async def latency(self, kind: Kind, runs: int = SINGLE_RUNS) -> None:
        """From POST to `completed`, one run after the other; median ms of the round."""
        total, posts = [], []
        for _ in range(runs):
            begun = time.perf_counter()
            run = await kind.start(0)
            posts.append(time.perf_counter() - begun)
            async with asyncio.timeout(PATIENCE):
                while not await kind.is_done(run):
                    await asyncio.sleep(LOOK)
            total.append(time.perf_counter() - begun)
            await asyncio.sleep(0.02)
        kind.latency.append(statistics.median(total) * 1000)
        kind.post.append(statistics.median(posts) * 1000)

    async def throughput(self, kind: Kind) -> None:
        """Runs a second at the concurrency."""
        left = iter(range(BURST))

        async def work(slot: int) -> None:
            for _ in left:
                run = await kind.start(slot)
                async with asyncio.timeout(PATIENCE):
                    while not await kind.is_done(run):
                        await asyncio.sleep(GLANCE)

        begun = time.perf_counter()
        await asyncio.gather(*(work(slot) for slot in range(CONCURRENCY)))
        kind.rate.append(BURST / (time.perf_counter() - begun))

    async def read(self, name: str, http: httpx2.AsyncClient, path: str) -> None:
        """GETs a second at the connections."""
        left = iter(range(READS))

        async def work() -> None:
            for _ in left:
                answer = await http.get(path)
                assert answer.status_code == 200, answer.text

        begun = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        self.reads[name].append(READS / (time.perf_counter() - begun))


async def measure(place: Site, rounds: int) -> dict[str, Any]:
    """All rounds; the figures."""
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        httpx2.AsyncClient(base_url=place.url, headers=headers, limits=limits, timeout=60) as ours,
        httpx2.AsyncClient(base_url=place.floor_url, limits=limits, timeout=60) as floor,
    ):
        bench = Bench(place, ours, floor)
        kinds = await bench.prepare()
        for kind in kinds:
            await bench.latency(kind, 5)
            kind.latency.clear(), kind.post.clear()
        memory = place.memory_mb()
        floor_run = await kinds[0].start(0)
        settled = await kinds[1].start(1)
        waiting = await bench._post(
            "/api/playbooks", {"name": "Waiting", "steps": [{"type": "delay", "name": "Wait", "duration": "1h"}] * 4}
        )
        running = (await bench._post(f"/api/playbooks/{waiting['id']}/run", {"target_asset_id": bench.assets[0]}))[
            "execution_id"
        ]
        for _ in range(rounds):
            for kind in kinds:
                await bench.latency(kind)
            for kind in kinds:
                await bench.throughput(kind)
            await bench.read("floor describe", floor, f"/run/{floor_run}")
            await bench.read("running GET", ours, f"/api/playbooks/executions/{running}")
            await bench.read("settled GET", ours, f"/api/playbooks/executions/{settled}")
        return _figures(kinds, bench.reads, memory)


def _figures(kinds: list[Kind], reads: dict[str, list[float]], memory: dict[str, float]) -> dict[str, Any]:
    floor, *others = kinds
    rows: list[dict[str, Any]] = []
    for kind in others:
        rows.append(_row(f"{kind.name} × 4: POST → completed, p50 ms", kind.latency, floor.latency))
        rows.append(_row(f"{kind.name} × 4: runs/s at {CONCURRENCY}", kind.rate, floor.rate))
    rows.append(_row("POST, p50 ms", others[0].post, floor.post))
    for name in ("running GET", "settled GET"):
        rows.append(_row(f"{name}: requests/s at {CONNECTIONS}", reads[name], reads["floor describe"]))
    return {"rows": rows, "memory_mb": memory}


def _row(name: str, ours: list[float], floor: list[float]) -> dict[str, Any]:
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    return {
        "name": name,
        "stanchion": statistics.median(ours),
        "floor": statistics.median(floor),
        "ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
    }


def ready_seconds() -> float:
    """Seconds from `stanchion up` to ready, in a fresh folder."""
    with tempfile.TemporaryDirectory() as text:
        port = _free_port()
        line = [sys.executable, "-m", "cli.main", "up", "--data-dir", text, "--port", str(port)]
        line += ["--temporal-port", str(_free_port()), "--ui-port", str(_free_port())]
        begun = time.perf_counter()
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while time.perf_counter() - begun < 60:
                try:
                    if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                        return time.perf_counter() - begun
                except httpx2.TransportError:
                    pass
                time.sleep(0.02)
        finally:
            _end(process)
    raise SystemExit("stanchion up does not get ready")


def show(figures: dict[str, Any]) -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in ("what", "stanchion", "floor", "ratio", "min–max of rounds"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for row in figures["rows"]:
        low, high = row["spread"]
        figures_of_row = (f"{row['stanchion']:.1f}", f"{row['floor']:.1f}", f"{row['ratio']:.2f}")
        table.add_row(row["name"], *figures_of_row, f"{low:.2f}–{high:.2f}")
    console = Console(width=120)
    console.print(table)
    memory = figures["memory_mb"]
    console.print("Memory at rest, MB: " + ", ".join(f"{name} {size:.0f}" for name, size in memory.items()))
    console.print("`stanchion up` to ready, s: " + ", ".join(f"{seconds:.2f}" for seconds in figures["ready_s"]))


def main() -> None:
    """Entry of ``make bench``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ready = [ready_seconds() for _ in range(3)]
    with site() as place:
        figures = asyncio.run(measure(place, rounds))
    figures["ready_s"] = ready
    show(figures)
    RESULTS.mkdir(exist_ok=True)
    Path(RESULTS / "latest.json").write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
