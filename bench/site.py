"""The processes that are measured: one embedded Temporal, Stanchion's API and worker, the floor's API and worker."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

ROOT = Path(__file__).parent.parent
TOKEN = "bench-admin-token"


@dataclass(frozen=True)
class Site:
    """Where the processes serve, and their ids."""

    url: str
    floor_url: str
    temporal: str
    processes: dict[str, subprocess.Popen[bytes]]
    folder: Path

    def memory_mb(self) -> dict[str, dict[str, float]]:
        """Memory of each process in MB: what is resident, and its share where pages are shared with others."""
        return {name: _memory(process.pid) for name, process in self.processes.items()}


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Starts everything, and ends it by process id."""
    from engine.embedded import EmbeddedOptions, command

    with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as text, contextlib.ExitStack() as stack:
        folder = Path(text)
        port, floor_port = _free_port(), _free_port()
        options = EmbeddedOptions(data_dir=folder, port=_free_port())
        environment = {
            **os.environ,
            "STANCHION_DATA_DIR": text,
            "STANCHION_TEMPORAL_ADDRESS": options.address,
            "STANCHION_ADMIN_TOKEN": TOKEN,
            "STANCHION_LOG_LEVEL": "WARNING",
            "BENCH_TEMPORAL": options.address,
            "PYTHONPATH": str(ROOT),
        }
        lines = {
            "temporal": command(options),
            "worker": [sys.executable, "-m", "worker"],
            "api": [sys.executable, "-m", "cli.main", "api", "--port", str(port)],
            "floor worker": [sys.executable, "-m", "bench.floor", "worker"],
            "floor api": [sys.executable, "-m", "bench.floor", "api", str(floor_port)],
        }
        processes: dict[str, subprocess.Popen[bytes]] = {}
        log = stack.enter_context((folder / "log").open("wb"))
        for name, line in lines.items():
            processes[name] = subprocess.Popen(line, env=environment, cwd=ROOT, stdout=log, stderr=log)
            stack.callback(_end, processes[name])
            if name == "temporal":
                _prepare(options.address)
        found = Site(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{floor_port}", options.address, processes, folder)
        _wait(f"{found.url}/readyz")
        _wait(f"{found.floor_url}/openapi.json")
        yield found


def _prepare(address: str) -> None:
    import asyncio

    from engine.client import connect_patiently
    from engine.namespace import prepare_namespace
    from settings import Settings

    async def prepare() -> None:
        await prepare_namespace(await connect_patiently(Settings(temporal_address=address)), 7)

    asyncio.run(prepare())


def _wait(url: str) -> None:
    for _ in range(600):
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(url).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _memory(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines}
    return {"resident": sizes["Rss"], "proportional": sizes["Pss"]}


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
