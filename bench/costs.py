"""Measures what a run costs: CPU and resident memory of each process, bytes of history and disk, over many runs.

    python -m bench.costs [RUNS]

The floor's runs (four activities, by hand) and ours go in turns on one server; each process' CPU is read from the
kernel before and after.  The server's share is told for both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import httpx2
from temporalio.client import Client

from bench.runs import Bench, Kind, clients
from bench.site import Site, _resident, site

ABREAST = 20
TURN = 200
"""Runs of one kind before the next has its turn."""


def cpu_ms(pid: int) -> float:
    """CPU time that the process has used so far, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def disk_bytes(place: Site) -> dict[str, int]:
    """Bytes of our database and of Temporal's file."""
    found = {}
    for name, pattern in (("database", "stanchion.sqlite*"), ("temporal", "temporal*")):
        found[name] = sum(file.stat().st_size for file in place.folder.glob(pattern) if file.is_file())
    return found


async def drive(bench: Bench, kind: Kind, count: int) -> list[str]:
    """So many runs of a kind, some at once; their ids."""
    left, done = iter(range(count)), []

    async def work(slot: int) -> None:
        for _ in left:
            run = await kind.start(slot)
            while not await kind.is_done(run):
                await asyncio.sleep(0.05)
            done.append(run)

    await asyncio.gather(*(work(slot) for slot in range(ABREAST)))
    return done


async def history(temporal: Client, workflow_id: str, run_id: str | None = None) -> tuple[int, int]:
    """Events and bytes of a history."""
    events = (await temporal.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()).events
    return len(events), sum(event.ByteSize() for event in events)


async def measure(place: Site, runs: int) -> None:
    """Prints every row."""
    ours, floor = clients(place)
    async with ours, floor:
        bench = Bench(place, ours, floor)
        kinds = await bench.prepare()
        for kind in kinds:
            await drive(bench, kind, 20)
        rest = {name: _resident(process.pid) for name, process in place.processes.items()}
        used: dict[str, dict[str, list[float]]] = {kind.name: {} for kind in kinds}
        disks: dict[str, dict[str, list[float]]] = {kind.name: {} for kind in kinds}
        last: dict[str, str] = {}
        begun = time.perf_counter()
        for _ in range(max(1, runs // TURN // len(kinds))):
            for kind in kinds:
                before = {name: cpu_ms(process.pid) for name, process in place.processes.items()}
                disk = disk_bytes(place)
                last[kind.name] = (await drive(bench, kind, TURN))[-1]
                for name, process in place.processes.items():
                    used[kind.name].setdefault(name, []).append((cpu_ms(process.pid) - before[name]) / TURN)
                for name, size in disk_bytes(place).items():
                    disks[kind.name].setdefault(name, []).append((size - disk[name]) / TURN)
        seconds = time.perf_counter() - begun
        print(f"{runs:,} runs in {seconds:.0f} s, {ABREAST} at once, {TURN} of a kind in turn")
        print("| a run of | worker, CPU ms | API, CPU ms | Temporal, CPU ms | worker : floor's | database, bytes "
              "| Temporal's file, bytes | history |\n| --- | --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
        temporal = await Client.connect(place.temporal)
        base = statistics.median(used["floor"]["floor worker"])
        for kind in kinds:
            mine = "floor " if kind.name == "floor" else ""
            worker, api, server = (
                statistics.median(used[kind.name][name]) for name in (f"{mine}worker", f"{mine}api", "temporal")
            )
            workflow = last[kind.name] if mine else await _workflow_of(ours, last[kind.name])
            events, size = await history(temporal, workflow)
            database, file = (statistics.median(disks[kind.name][name]) for name in ("database", "temporal"))
            print(f"| {kind.name} | {worker:.1f} | {api:.1f} | {server:.1f} | {worker / base:.2f} | {database:.0f} "
                  f"| {file:.0f} | {events} events, {size} bytes |")  # fmt: skip
        print("| process | MB at rest | MB after |\n| --- | --- | --- |")
        for name, process in place.processes.items():
            print(f"| {name} | {rest[name]:.0f} | {_resident(process.pid):.0f} |")


async def _workflow_of(http: httpx2.AsyncClient, execution: str) -> str:
    answer = (await http.get(f"/api/playbooks/executions/{execution}")).json()
    return f"{answer['playbook_id']}:{answer['target_asset_id']}"


def main() -> None:
    """Entry."""
    with site() as place:
        asyncio.run(measure(place, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))


if __name__ == "__main__":
    main()
