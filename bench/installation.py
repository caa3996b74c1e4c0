"""Measures a whole `stanchion up`: its memory at rest, and how soon a part that was killed is back.

    python -m bench.installation [ROUNDS]

The floor is the same server with the hand-written worker and API beside it.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2

from bench.rows import Noise, show
from bench.site import ROOT, _end, _free_port, _memory, site

PATIENCE = 60
REST = 5.0
"""Seconds after which an installation that is ready is at rest."""

KILLED = ("worker", "api")


class Installation:
    """A running `stanchion up` in a fresh folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        line = [sys.executable, "-m", "cli.main", "up", "--data-dir", str(folder), "--port", str(self.port)]
        line += ["--temporal-port", str(_free_port()), "--headless", "--log-dir", str(folder / "logs")]
        self.process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.log = folder / "logs" / "worker.log"

    def pids(self) -> dict[str, int]:
        """The process ids as they are now."""
        found: dict[str, int] = json.loads((self.folder / "run.json").read_text())["pids"]
        return found

    def serves(self) -> bool:
        """Whether the API says that it is ready."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def workers_ready(self) -> int:
        """How many workers have said that they are ready."""
        return self.log.read_text().count("worker ready") if self.log.exists() else 0

    def is_up(self) -> bool:
        """Whether the supervisor has found everything ready."""
        state = self.folder / "run.json"
        return state.exists() and bool(json.loads(state.read_text())["ready"]) and self.workers_ready() > 0

    def back_after_kill(self, part: str) -> float:
        """Seconds from kill -9 of a part until it works again."""
        before, ready = self.pids()[part], self.workers_ready()
        begun = time.perf_counter()
        os.kill(before, signal.SIGKILL)
        works = self.serves if part == "api" else lambda: self.workers_ready() > ready
        until(lambda: self.pids()[part] != before and works())
        return time.perf_counter() - begun


def until(condition: Callable[[], bool]) -> None:
    """Waits for ``condition``; raises SystemExit when it does not come about."""
    begun = time.perf_counter()
    while not condition():
        if time.perf_counter() - begun > PATIENCE:
            raise SystemExit("stanchion up does not get ready")
        time.sleep(0.01)


def measure(memory: dict[str, list[Mapping[str, float]]], back: dict[str, list[float]]) -> None:
    """One round: memory of each process at rest, then a kill of each part."""
    with tempfile.TemporaryDirectory() as text:
        installation = Installation(Path(text))
        try:
            until(installation.is_up)
            time.sleep(REST)
            for name, pid in installation.pids().items():
                memory.setdefault(name, []).append(_memory(pid))
            for part in KILLED:
                back.setdefault(part, []).append(installation.back_after_kill(part))
        finally:
            _end(installation.process)


def measure_floor(memory: dict[str, list[Mapping[str, float]]]) -> None:
    """One round of the floor's."""
    with site() as place:
        for name in ("worker", "api"):
            _end(place.processes[name])
        time.sleep(REST)
        for name in ("temporal", "floor worker", "floor api"):
            memory.setdefault(name, []).append(_memory(place.processes[name].pid))


def _lines(memory: Mapping[str, list[Mapping[str, float]]]) -> list[list[str]]:
    whats = ("resident", "proportional")
    lines = [
        [name, *(f"{statistics.median(one[what] for one in found):.0f}" for what in whats)]
        for name, found in memory.items()
    ]
    sums = [
        [sum(found[number][what] for found in memory.values()) for number in range(len(next(iter(memory.values()))))]
        for what in whats
    ]
    return [*lines, ["together", *(f"{statistics.median(one):.0f}" for one in sums)]]


def main(rounds: int) -> None:
    """Prints the rows."""
    noise = Noise()
    ours: dict[str, list[Mapping[str, float]]] = {}
    floor: dict[str, list[Mapping[str, float]]] = {}
    back: dict[str, list[float]] = {}
    for _ in range(rounds):
        measure(ours, back)
        measure_floor(floor)
        noise.sample()
    print(noise.told())
    show(_lines(ours), ("stanchion up at rest, MB", "resident", "with shared pages counted once"))
    show(_lines(floor), ("the floor at rest, MB", "resident", "with shared pages counted once"))
    show(
        [
            [f"{part} works again", f"{statistics.median(found):.2f}", f"{min(found):.2f}–{max(found):.2f}"]
            for part, found in back.items()
        ],
        ("after kill -9 of a part, s", "median", "rounds"),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
