"""Measures an installation that holds many settled executions against the same one when it was fresh.

    python -m bench.aged [EXECUTIONS]

The executions are copies of a real one in the database; the runs of Temporal's own file are as many as were measured.
Rows: list of 20, POST, settled GET, runs a second, and what a settled execution costs on the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2

from bench.reads import reads_a_second
from tests.house import House
from tests.stack import FINAL

ROUNDS = 5
RUNS = 60
ABREAST = 20
COPIED = ("created_at", "created_by", "source", "playbook_id", "revision", "asset", "parameters", "dry_run",
          "dry_run_reads", "workflow_run_id", "state", "started_at", "finished_at", "error", "outputs", "record",
          "closed_at")  # fmt: skip


class Aged:
    """One installation, measured twice."""

    def __init__(self, house: House, http: httpx2.AsyncClient) -> None:
        self.house, self.http = house, http
        self.playbook = ""
        self.assets: list[str] = []
        self.settled = ""

    async def prepare(self) -> None:
        """A playbook of four quick steps, assets, and one execution that has ended."""
        step = {"action_ref": "core.echo", "parameters": {"host": "{{ asset.name }}"}}
        self.playbook = (await self.house.post("/api/playbooks", {"name": "Quick", "steps": [step] * 4}, 201))["id"]
        for number in range(ABREAST):
            asset = await self.house.post("/api/assets", {"name": f"host-{number}", "type": "host"}, 201)
            self.assets.append(asset["id"])
        self.settled = await self.start(0)
        await self.ended(self.settled)

    async def start(self, slot: int) -> str:
        """Starts a run; 409 is asked again, since a workflow closes a moment after its record is settled."""
        while True:
            path, body = f"/api/playbooks/{self.playbook}/run", {"target_asset_id": self.assets[slot]}
            answer = await self.http.post(path, json=body)
            if answer.status_code == 202:
                return str(answer.json()["execution_id"])
            assert answer.status_code == 409, answer.text
            await asyncio.sleep(0.005)

    async def ended(self, execution: str) -> None:
        """Waits for the end."""
        while (await self.http.get(f"/api/playbooks/executions/{execution}")).json()["status"] not in FINAL:
            await asyncio.sleep(0.02)

    async def list_ms(self) -> float:
        """Median ms of a page of 20."""
        return await self._median(lambda: self.http.get("/api/playbooks/executions?per_page=20"), 30)

    async def filtered_ms(self) -> float:
        """Median ms of a page of 20 of one asset's failures."""
        path = f"/api/playbooks/executions?per_page=20&target_asset_id={self.assets[0]}&status=failed"
        return await self._median(lambda: self.http.get(path), 30)

    async def post_ms(self) -> float:
        """Median ms of a start."""
        taken = []
        for slot in range(ABREAST):
            begun = time.perf_counter()
            execution = await self.start(slot)
            taken.append(time.perf_counter() - begun)
            await self.ended(execution)
        return statistics.median(taken) * 1000

    async def reads(self) -> float:
        """Reads of a settled status a second."""
        url = str(self.http.base_url).rstrip("/") + f"/api/playbooks/executions/{self.settled}"
        return await reads_a_second(url, dict(self.http.headers))

    async def runs(self) -> float:
        """Runs a second, so many at once."""
        left = iter(range(RUNS))

        async def work(slot: int) -> None:
            for _ in left:
                await self.ended(await self.start(slot))

        begun = time.perf_counter()
        await asyncio.gather(*(work(slot) for slot in range(ABREAST)))
        return RUNS / (time.perf_counter() - begun)

    async def _median(self, ask: Callable[[], Awaitable[httpx2.Response]], times: int) -> float:
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            answer = await ask()
            taken.append(time.perf_counter() - begun)
            assert answer.status_code == 200, answer.text
        return statistics.median(taken) * 1000

    async def measure(self) -> dict[str, list[float]]:
        """Every figure, a value for each round."""
        kinds: dict[str, Callable[[], Awaitable[float]]] = {
            "list of 20, p50 ms": self.list_ms,
            "list of 20, filtered, p50 ms": self.filtered_ms,
            "POST, p50 ms": self.post_ms,
            "settled GET, requests/s": self.reads,
            "core.echo × 4, runs/s at 20": self.runs,
        }
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, kind in kinds.items():
                found[name].append(await kind())
        return found

    def fill(self, count: int) -> float:
        """Copies the settled execution ``count`` times; bytes on the disk for each."""
        file = self.house.folder / "stanchion.sqlite"
        with sqlite3.connect(file, timeout=60) as database:
            before = _size(database)
            columns = ", ".join(COPIED)
            source = "FROM executions WHERE id = ?"
            insert = f"INSERT INTO executions (id, workflow_id, asset_id, {columns})"
            for first in range(0, count, 10_000):
                last = first + min(10_000, count - first) - 1
                numbers = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
                database.execute(
                    f"{numbers} {insert} SELECT printf('exec-%08x-0000-4000-8000-%012x', i, i), workflow_id, "
                    f"printf('%08x-0000-4000-8000-%012x', i % 500, i % 500), {columns} "
                    f"FROM n, (SELECT * {source}) AS one",
                    (self.settled,),
                )
                database.execute(
                    "INSERT INTO execution_io (number, io, iterations, vars) SELECT made.number, io, iterations, vars "
                    "FROM executions AS made, (SELECT execution_io.* FROM execution_io JOIN executions USING (number) "
                    "WHERE id = ?) AS one WHERE made.number NOT IN (SELECT number FROM execution_io) "
                    "AND made.id LIKE 'exec-%-0000-4000-8000-%'",
                    (self.settled,),
                )
                database.commit()
            database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return (_size(database) - before) / count


def _size(database: sqlite3.Connection) -> int:
    pages, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


async def main(count: int) -> None:
    """Prints every row."""
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as text:
        house = House(Path(text))
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
        try:
            await house.prepare()
            async with (
                house.http as plain,
                httpx2.AsyncClient(base_url=plain.base_url, headers=plain.headers, limits=limits, timeout=60) as http,
            ):
                aged = Aged(house, http)
                await aged.prepare()
                fresh = await aged.measure()
                each = await asyncio.to_thread(aged.fill, count)
                total = (await http.get("/api/playbooks/executions?per_page=1")).json()["meta"]["total"]
                old = await aged.measure()
        finally:
            house.close()
    print(f"{total:,} executions; {each:.0f} bytes on the disk for each, with its index entries and its steps' io")
    print("| what | fresh | aged | ratio, better is more |\n| --- | --- | --- | --- |")
    for name, values in fresh.items():
        one, other = statistics.median(values), statistics.median(old[name])
        ratio = one / other if name.endswith("ms") else other / one
        print(f"| {name} | {one:.1f} | {other:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
