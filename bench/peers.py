"""Measures peers that install from PyPI beside Stanchion, on the job that all can do: four steps that do nothing.

    python -m bench.peers [ROUNDS]

Each peer has an environment of its own in `.venv-peers`, which is made when it is missing, and its own durable
default.  What a peer promises less is named in docs/performance.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from bench.runs import Bench, Kind, clients
from bench.site import ROOT, Site, _end, _free_port, _resident, _wait, site

PEERS = {"DBOS": "bench/peer_dbos.py", "Prefect": "bench/peer_prefect.py"}
ENVIRONMENT = ROOT / ".venv-peers"


def install() -> Path:
    """The Python of the peers' environment."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "dbos", "prefect", "fastapi", "uvicorn"], check=True)
    return python


@contextlib.contextmanager
def peer(name: str, python: Path) -> Iterator[tuple[str, list[int]]]:
    """A peer that serves; its address and the ids of its processes."""
    port, server_port = _free_port(), _free_port()
    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder, contextlib.ExitStack() as stack:
        environment = {**os.environ, "PREFECT_HOME": folder, "DO_NOT_TRACK": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}
        environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        processes = []
        log = stack.enter_context(Path(folder, "log").open("wb"))
        lines = [[str(python), str(ROOT / PEERS[name]), str(port), folder]]
        if name == "Prefect":
            environment["PREFECT_API_URL"] = f"http://127.0.0.1:{server_port}/api"
            lines.insert(0, [str(python), "-m", "prefect", "server", "start", "--port", str(server_port), "--no-ui"])
        for line in lines:
            process = subprocess.Popen(line, env=environment, cwd=folder, stdout=log, stderr=log)
            stack.callback(_end, process)
            processes.append(process.pid)
            if "prefect" in line:
                _wait(f"http://127.0.0.1:{server_port}/api/health")
        _wait(f"http://127.0.0.1:{port}/openapi.json")
        yield f"http://127.0.0.1:{port}", processes


def kind_of(name: str, http: httpx2.AsyncClient) -> Kind:
    """How to start a run of a peer and to look at it."""

    async def start(slot: int) -> str:
        answer = await http.post("/run", json={})
        return str(answer.json()["id"])

    async def is_done(run: str) -> bool:
        return bool((await http.get(f"/run/{run}")).json()["status"] == "completed")

    return Kind(name, start, is_done)


async def alternate(kinds: list[Kind], rounds: int) -> None:
    """The rounds of all, in turns; who does not end a run in time among many has no figure for that."""
    stuck: list[Kind] = []
    for _ in range(rounds):
        for kind in kinds:
            await kind.burst(1)
        for kind in kinds:
            if kind not in stuck:
                try:
                    await kind.burst(20)
                except* TimeoutError:
                    stuck.append(kind)


async def measure(place: Site, rounds: int) -> None:
    """Prints a row for each."""
    python = install()
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with contextlib.AsyncExitStack() as stack:
        ours, floor = clients(place)
        bench = Bench(place, await stack.enter_async_context(ours), await stack.enter_async_context(floor))
        kinds = await bench.prepare()
        mine = [place.processes[one].pid for one in ("temporal", "worker", "api")]
        hand = [place.processes[one].pid for one in ("temporal", "floor worker", "floor api")]
        processes = {"floor": hand, "core.echo": mine, "core.sleep 0": mine}
        for name in PEERS:
            url, processes[name] = stack.enter_context(peer(name, python))
            http = await stack.enter_async_context(httpx2.AsyncClient(base_url=url, limits=limits, timeout=60))
            kinds.append(kind_of(name, http))
        for kind in kinds:
            await kind.burst(1, 3)
            kind.rounds.clear()
        await alternate(kinds, rounds)
        print(
            "| four steps | POST → completed, p50 ms | runs/s at 20 | POST, p50 ms | MB |\n"
            "| --- | --- | --- | --- | --- |"
        )
        for kind in kinds:
            latency, post = (statistics.median(kind.figures(1, what)) for what in ("p50", "post p50"))
            rate = f"{statistics.median(kind.figures(20, 'rate')):.1f}" if 20 in kind.rounds else "not in time"
            memory = sum(_resident(pid) for pid in processes[kind.name])
            print(f"| {kind.name} | {latency:.1f} | {rate} | {post:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    begun = time.perf_counter()
    with site() as built:
        asyncio.run(measure(built, int(sys.argv[1]) if len(sys.argv) > 1 else 4))
    print(f"{time.perf_counter() - begun:.0f} s")
