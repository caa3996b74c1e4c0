"""Measures from `stanchion up` to ready, in a fresh folder and in one that it has run in, against Temporal alone.

python -m bench.beginnings [ROUNDS]
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
from temporalio.client import Client

from bench.rows import Noise, row, show
from bench.site import ROOT, _end, _free_port
from engine.embedded import EmbeddedOptions, command

PATIENCE = 60


def ready_seconds(folder: Path) -> float:
    """Seconds from `stanchion up` to ready."""
    port = _free_port()
    line = [sys.executable, "-m", "cli.main", "up", "--data-dir", str(folder), "--port", str(port)]
    line += ["--temporal-port", str(_free_port()), "--ui-port", str(_free_port())]
    begun = time.perf_counter()
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < PATIENCE:
            try:
                if httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    return time.perf_counter() - begun
            except httpx2.TransportError:
                pass
            time.sleep(0.02)
    finally:
        _end(process)
    raise SystemExit("stanchion up does not get ready")


async def temporal_seconds(folder: Path) -> float:
    """Seconds from Temporal's start until it takes calls."""
    options = EmbeddedOptions(data_dir=folder, port=_free_port())
    begun = time.perf_counter()
    process = subprocess.Popen(command(options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < PATIENCE:
            try:
                await Client.connect(options.address)
                return time.perf_counter() - begun
            except RuntimeError:
                await asyncio.sleep(0.02)
    finally:
        _end(process)
    raise SystemExit("Temporal does not get ready")


def main(rounds: int) -> None:
    """Prints the rows."""
    noise = Noise()
    found: dict[str, list[float]] = {name: [] for name in ("fresh", "again", "alone", "alone again")}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
            found["fresh"].append(ready_seconds(Path(ours)))
            found["alone"].append(asyncio.run(temporal_seconds(Path(theirs))))
            found["again"].append(ready_seconds(Path(ours)))
            found["alone again"].append(asyncio.run(temporal_seconds(Path(theirs))))
        noise.sample()
    print(noise.told())
    show(
        [
            row("`stanchion up` to ready, fresh folder, s (floor: Temporal alone)", found["fresh"], found["alone"]),
            row("the same in a folder with data, s", found["again"], found["alone again"]),
        ]
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
